"""`dycoke eval`: score methods on a file of questions."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json
from dycoke_cli.errors import FailedItemsError

if TYPE_CHECKING:
    from dycoke_cli.evaluation.run import Evaluation
    from dycoke_cli.evaluation.summary import Summary
    from dycoke_cli.methods.arm import Arm


@opt.add_settings(opt.SETTINGS.keys() - opt.MODEL - opt.CACHE - {"compile", "sample"})
def eval_command(
    questions: Annotated[
        str, typer.Argument(metavar="QUESTIONS", help="YAML or JSONL file of questions, in the format above.")
    ],
    preset: opt.Preset = None,
    model: opt.Model = None,
    methods: Annotated[
        list[str] | None, opt.several_methods("Repeat to compare several; the first is the reference.")
    ] = None,
    option: opt.MethodOptions = None,
    retain: opt.Retain = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Also run without compression, as the reference.")
    ] = False,
    match: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="Matching of answers to questions without their own match: exact or contains."
        ),
    ] = "exact",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Keep answers in this file; a later run computes only missing ones."),
    ] = None,
    *,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
    **flags: Any,
) -> None:
    """Score methods on a file of questions, with confidence intervals.

    An item has video (a path relative to the file), question and answer (a text or a list of right answers). It may
    have options (the answer is then one of them, or its letter), type, and match (exact or contains).

    Matching ignores case, articles and punctuation around words. Intervals are 95%: Wilson's for accuracies by type,
    a bootstrap over videos for the difference of each method to the first one.
    """
    flags |= {"preset": preset, "model": model, "retain": retain}
    from dycoke_cli.cli.arms import read_arms
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.display.output_files import check_outputs
    from dycoke_cli.evaluation.matching import parse_match
    from dycoke_cli.evaluation.question_file import read_questions, refuse_missing_videos
    from dycoke_cli.video.path import local_path

    file = Path(local_path(questions))
    check_outputs({"--output": output}, [file, config])
    asked = read_questions(file, parse_match(match))
    refuse_missing_videos(asked, file)
    from dycoke_cli.evaluation.record import ANSWERS
    from dycoke_cli.evaluation.summary import summarise
    from dycoke_cli.system.jsonl_output import JsonlOutput

    stopped: BaseException | None = None
    terminal = Terminal(quiet=quiet, stats=False, answers=False, several=False, counted=True)
    with terminal, JsonlOutput(output, ANSWERS) as answers:
        terminal.progress("Preparing", 0, 0)  # torch alone takes seconds
        settings, arms = read_arms(flags, methods or [], option or [], baseline, config)
        from dycoke_cli.evaluation.run import Evaluation

        evaluation = Evaluation(asked, arms, settings)
        try:
            evaluation.run(answers, terminal.callbacks)
        except (KeyboardInterrupt, Exception) as error:
            stopped = error  # raised after the answers so far are printed
        records = evaluation.records(answers)
    summary = summarise(records, [arm.label for arm in arms], len(evaluation.tasks))
    if records:
        _print_summary(summary, _description(file, evaluation, arms) if as_json else None)
    _raise_failures(summary, stopped)


def _description(questions: Path, evaluation: "Evaluation", arms: "list[Arm]") -> dict[str, Any]:
    """Return the questions, the model and the methods, for the JSON object."""
    tasks = evaluation.tasks
    asked = {
        "path": str(questions),
        "questions": len({task.item for task in tasks}),
        "videos": len({task.question.path for task in tasks}),
    }
    return {"questions": asked, **evaluation.described, "methods": [arm.described for arm in arms]}


def _print_summary(summary: "Summary", description: dict[str, Any] | None) -> None:
    """Print the summary as tables, or with a description as one JSON object that begins with it."""
    from rich.console import Console

    from dycoke_cli.display.evaluation import summary_record, summary_tables

    if description is None:
        console = Console(highlight=False)
        for table in summary_tables(summary, console.width):
            console.print(table)
    else:
        write_json(summary_record(summary, description))
    sys.stdout.flush()  # a full disk raises here


def _raise_failures(summary: "Summary", stopped: BaseException | None) -> None:
    """Raise the exception that stopped the run, or FailedItemsError if answers are missing."""
    if stopped is not None:
        raise stopped
    if summary.failures:
        videos = len({failure.video for failure in summary.failures})
        noun = "video" if videos == 1 else "videos"
        raise FailedItemsError(
            f"{summary.unanswered} of {summary.expected} answers are missing: {videos} {noun} failed",
            "Repair the listed videos and run again; with --output only missing answers are computed",
        )
