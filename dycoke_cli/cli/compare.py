"""`dycoke compare`: compare methods on one question, in tables, JSON or CSV."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import write_json
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED, split_stock

if TYPE_CHECKING:
    from dycoke_cli.comparison.result import Comparison
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.methods.arm import Arm

STDOUT = "-"
SEVERAL = (
    "Repeat for several. generate is transformers alone, and generate:compiled the same with a static cache and "
    "torch.compile."
)
# Compared answers are greedy; these values override settings files and variables.
GREEDY = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0}


@opt.add_settings(opt.SETTINGS.keys() - opt.MODEL - opt.SAMPLING - opt.CACHE - {"sample"})
def compare_command(
    video: Annotated[
        str | None, typer.Argument(metavar="VIDEO", help="Video file. (default: a bundled sample)")
    ] = None,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="Question about the video. (default: one about the sample)")
    ] = None,
    preset: opt.Preset = None,
    model: opt.Model = None,
    methods: Annotated[list[str] | None, opt.several_methods(SEVERAL)] = None,
    option: opt.MethodOptions = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V,...", help="Run each value of an option of the method; several sweeps form a grid."
        ),
    ] = None,
    retain: opt.Retain = None,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline", help="Also run without compression, on this engine and with transformers' generate."
        ),
    ] = False,
    repeat: Annotated[int, typer.Option(metavar="N", help="Measured runs of each arm; arms take turns.")] = 3,
    *,
    as_json: opt.Json = False,
    as_csv: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write CSV with one row per arm; - prints it instead of the tables."
        ),
    ] = None,
    report: opt.ReportFile = None,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
    **flags: Any,
) -> None:
    """Compare methods on one question: tokens read, time, memory and answers.

    The video is decoded once; every run does all other work itself. Each arm is warmed up, then the arms take turns;
    times are medians. Answers are greedy. Ratios and agreement refer to the uncompressed run, which --baseline or
    -M full adds.
    """
    flags |= {"preset": preset, "model": model, "retain": retain}
    from dycoke_cli.cli.arms import arm_settings, build_arms
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.comparison.sweep import grid
    from dycoke_cli.display.output_files import check_outputs
    from dycoke_cli.video.path import readable_path

    video, question = _video_and_question(video, question)
    names, stocks = _split(methods or [], option or [], sweep or [])
    if repeat < 1:
        raise UsageError(f"--repeat is {repeat}, which is below 1", "Use --repeat 1 or above")
    if as_csv == STDOUT and as_json:
        raise UsageError("--json and --csv - both write to stdout", "Name a file for --csv")
    csv_file = None if as_csv == STDOUT else as_csv
    check_outputs({"--csv": csv_file, "--report": report}, [video, config])  # before the runs, not after them
    chosen = arm_settings({**flags, **GREEDY}, names, option or [], config, list(grid(sweep or [])))
    settings, video = chosen[-1], readable_path(video)
    with Terminal(quiet=quiet, stats=False, answers=False, several=False, counted=True) as terminal:
        terminal.progress("Preparing", 0, 0)  # torch alone takes seconds
        arms = build_arms(chosen if names or not stocks else [], baseline)
        from dycoke_cli.comparison.run import compare

        stock, compiled = baseline or STOCK in stocks, STOCK_COMPILED in stocks
        traced = report is not None
        comparison = compare(video, question, arms, settings, stock, repeat, traced, terminal.callbacks, compiled)
    _print_result(comparison, as_json, as_csv)
    if report is not None:
        from dycoke_cli.display.report import comparison_runs, write_report

        settings = settings.model_copy(update={"model": comparison.model["name"]})
        own = settings.model_dump(exclude={"method", "options", "cache", "cache_size"})
        command = _command(video, question, arms, stocks, settings, baseline, repeat)
        write_report(report, comparison_runs(comparison), comparison.frames, comparison.model, own, command)


def _split(methods: list[str], option: list[str], sweep: list[str]) -> tuple[list[str], list[str]]:
    """Separate this project's methods from `generate`. Raises UsageError for options that no single method has."""
    names, stocks = split_stock(methods)
    if sweep and len(names) > 1:
        raise UsageError(f"--sweep {sweep[0]} could belong to any of {len(names)} methods", "Name one method")
    if stocks and not names and (option or sweep):
        raise UsageError(f"{stocks[0]} has no option {(option or sweep)[0]!r}", "Name a method with -M too")
    return names, stocks


def _command(
    video: str,
    question: str,
    arms: "list[Arm]",
    stocks: list[str],
    settings: "Settings",
    baseline: bool,
    repeat: int,
) -> str:
    """Return the shell command that repeats a comparison, with each value of a sweep as an arm."""
    from dycoke_cli.config.presets import DEFAULT_METHOD

    shared = settings.model_copy(update={"method": DEFAULT_METHOD, "options": {}})
    labels = [*(arm.label for arm in arms if not arm.baseline), *stocks]
    methods = [word for label in labels for word in ("-M", label)]
    flags = [*methods, "--repeat", str(repeat), *(["--baseline"] if baseline else [])]
    return shared.as_command("compare", [video, question], flags)


def _video_and_question(video: str | None, question: str | None) -> tuple[str, str]:
    """Return the video and the question, the bundled ones if both are None. Raises UsageError if one is missing."""
    from dycoke_cli.session.question import check_question
    from dycoke_cli.video import bundled_clips
    from dycoke_cli.video.path import video_path

    if video is None:
        return str(bundled_clips.VIDEO), bundled_clips.QUESTION
    if question is None or not question.strip():
        raise UsageError(
            f"there is no question about {video!r}", 'Ask something: dycoke compare video.mp4 "what happens?"'
        )
    check_question(question)
    return video_path(video), question


def _print_result(comparison: "Comparison", as_json: bool, as_csv: str | None) -> None:
    """Print the result as tables, as one JSON object or as CSV; write a CSV file if `as_csv` names one."""
    from rich.console import Console

    from dycoke_cli.comparison.summary import summarise
    from dycoke_cli.display.comparison import comparison_tables
    from dycoke_cli.display.comparison_records import comparison_csv, comparison_record
    from dycoke_cli.display.output_files import write_file

    summaries = summarise(comparison)
    if as_json:
        write_json(comparison_record(comparison, summaries))
    elif as_csv == STDOUT:
        sys.stdout.write(comparison_csv(summaries))
    else:
        console = Console(highlight=False)
        for part in comparison_tables(comparison, summaries, console.width):
            console.print(part)
    sys.stdout.flush()  # a full disk raises here
    if as_csv not in (None, STDOUT):
        write_file(Path(as_csv), comparison_csv(summaries))
