"""`dycoke ask`: answer questions about a video."""

import json
from typing import Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.completion import option_values
from dycoke_cli.cli.streams import write_json
from dycoke_cli.errors import UsageError


@opt.add_settings(opt.SETTINGS)
def ask_command(
    video: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO",
            help="Video, picture, folder of pictures, - for stdin, or sample:cube.",
            autocompletion=option_values,
        ),
    ],
    questions: Annotated[
        list[str],
        typer.Argument(metavar="QUESTION", help="One or more questions.", autocompletion=option_values),
    ],
    *,
    baseline: opt.Baseline = False,
    as_json: opt.Json = False,
    trace: opt.TraceFile = None,
    report: opt.ReportFile = None,
    stats: opt.Stats = None,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
    **flags: Any,
) -> None:
    """Answer questions about a video.

    Answers are printed to stdout; the panel with token counts, times and memory to stderr.

    Without --model, a model that is already on this disk is used, else the small bundled demo,
    which is trained on drawn shapes only.
    """
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.video.path import video_path

    video = video_path(video)
    settings = opt.merge_flags(flags, config)
    if any(not question.strip() for question in questions):
        raise UsageError("the question is empty", 'Ask something: dycoke ask video.mp4 "what happens?"')
    from dycoke_cli.display.output_files import check_outputs, write_file
    from dycoke_cli.display.records import ask_record, trace_record
    from dycoke_cli.session.ask import ask

    check_outputs({"--trace": trace, "--report": report}, [video, config])  # before the run, not after it
    traced = trace is not None or report is not None
    with Terminal(quiet=quiet, stats=stats, answers=not as_json, several=len(questions) > 1) as terminal:
        outcome = ask(video, questions, settings, baseline, traced, terminal.callbacks)
        terminal.finish(outcome)
    if as_json:
        write_json(ask_record(outcome))
    if trace is not None:
        write_file(trace, json.dumps(trace_record(outcome)) + "\n")
    if report is not None:
        from dycoke_cli.display.report import ask_runs, write_report

        settings = settings.model_copy(update={"model": outcome.model["name"]})
        command = settings.as_command("ask", [video, *questions], ["--baseline"] if baseline else [])
        write_report(report, ask_runs(outcome), outcome.frames, outcome.model, settings.model_dump(), command)
