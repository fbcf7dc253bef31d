"""`dycoke bench`: parse, call, present."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import json_text, write_json

if TYPE_CHECKING:
    from dycoke_cli.bench.case import Findings
    from dycoke_cli.bench.plan import Plan
    from dycoke_cli.system.callbacks import Callbacks

LISTS = ("frames", "visual_tokens", "batch")
RESULTS = Path("benchmarks/results")  # of the repository; elsewhere only a named file is written


def bench_command(
    shape: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="demo, 0.5b, 7b or 72b. (default: demo on a CPU, 7b on a GPU with room)"),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-M",
            metavar="NAME[:K=V,...]",
            help="An arm: a method, with its own options after a colon, or transformers' generate. Repeat it for "
            "several. (default: generate, full, dycoke)",
        ),
    ] = None,
    option: opt.MethodOption = None,
    frames: Annotated[
        str | None, typer.Option("--frames", "-n", metavar="N,N,...", help="Numbers of frames. (default: few)")
    ] = None,
    visual_tokens: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Leave vision out: so many random visual tokens instead of frames."),
    ] = None,
    batch: Annotated[str, typer.Option(metavar="N,N,...", help="Rows that run together; vision is of one row.")] = "1",
    new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens of each answer. (default: 16 on a CPU, 128 on a GPU)")
    ] = None,
    video: Annotated[
        str | None, typer.Option(metavar="FILE", help="Decode this file in every run: the whole path, not noise.")
    ] = None,
    repeat: Annotated[int, typer.Option(metavar="N", help="Measured runs of every arm, in turns.")] = 3,
    layers: Annotated[
        int | None, typer.Option(metavar="N", help="Only so many layers: a quick look, not the real size.")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads. (default: one for each core)")] = None,
    targets: Annotated[
        bool, typer.Option("--targets", help="Run what this project promises for this device, and hold it against it.")
    ] = False,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    compile: opt.Compile = None,
    start: opt.Start = None,
    end: opt.End = None,
    decoder: opt.Decoder = None,
    video_timeout: opt.VideoTimeout = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write all results there. (default: benchmarks/results/bench.json, if there)"
        ),
    ] = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
) -> None:
    """Measure speed and memory on this machine, with its own limits beside them.

    Networks have their real sizes and random weights: nothing is downloaded, answers are noise, times and bytes are
    real. Each arm is warmed up, then they take turns on the same weights and inputs; times are medians. Ctrl-C or
    SIGTERM keeps what was measured.
    """
    given = dict(locals())
    flags: dict[str, Any] = {key: value for key, value in given.items() if key in opt.SETTINGS and key != "frames"}
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.display.output_files import check_outputs
    from dycoke_cli.errors import UsageError
    from dycoke_cli.video.path import readable_path

    if output is None and RESULTS.is_dir():
        output = RESULTS / "bench.json"
    for name, value in (("--repeat", repeat), ("--threads", threads), ("--new-tokens", new_tokens)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}: it is 1 or more", f"Use {name} 1 or above, or leave it out")
    if video == "-":
        raise UsageError("--video - can be read only once, and every run reads it", "Name a file")
    if video is not None:
        given["video"] = video = readable_path(video)
    check_outputs({"--output": output}, [video, config])  # before the work, not after it
    own = [key for key in ("shape", "methods", "option", "frames", "visual_tokens", "new_tokens", "video", "layers",
                           "threads") if given[key] is not None]  # fmt: skip
    if targets and own:
        raise UsageError(f"--targets brings its own sizes, and --{own[0].replace('_', '-')} is another", "Use one")
    with Terminal(quiet=quiet, stats=False, answers=False, several=False, counted=True) as terminal:
        terminal.progress("Preparing", 0, 0)  # torch alone takes seconds
        findings = _measured(_plan(given, flags, config), terminal.callbacks)
    show(findings, output, as_json, targets, None if quiet else terminal.callbacks)


def _plan(given: dict[str, Any], flags: dict[str, Any], config: Path | None) -> "Plan":
    """Read the arms and the sizes."""
    from dycoke_cli.cli.arms import read_arms, with_generate

    names, stock = with_generate(given["methods"] or [])
    if given["methods"] is None:
        settings, arms = read_arms(flags, [], given["option"] or [], True, config)
        stock = True
    elif names:
        settings, arms = read_arms(flags, names, given["option"] or [], False, config)
    else:
        settings, arms = read_arms(flags, [], [], False, config)[0], []
    from dycoke_cli.bench.plan import Wish, planned, target_plan, whole_numbers

    if given["targets"]:
        return target_plan(settings, given["repeat"])
    counted = {key: whole_numbers(f"--{key.replace('_', '-')}", given[key]) for key in LISTS}
    sizes: dict[str, Any] = {key: given[key] for key in ("shape", "layers", "video", "threads", "new_tokens")}
    wish = Wish(**(sizes | counted), repeats=given["repeat"])
    return planned(wish, arms, stock, settings)


def _measured(plan: "Plan", callbacks: "Callbacks") -> "Findings":
    from dycoke_cli.bench.run import bench

    return bench(plan, callbacks)


def show(
    findings: "Findings",
    output: Path | None,
    as_json: bool,
    targets: bool,
    callbacks: "Callbacks | None",
    decoding: float | None = None,
) -> None:
    """Print and save the results, and end as the bench has ended.

    targets: print the promises too. decoding: see `target.verdicts`. Raises KeyboardInterrupt where the bench was
    interrupted, FailedItemsError where an arm failed.
    """
    from rich.console import Console

    from dycoke_cli.bench.summary import summarise
    from dycoke_cli.bench.target import verdicts
    from dycoke_cli.display.bench import bench_tables
    from dycoke_cli.display.bench_records import bench_record
    from dycoke_cli.display.records import write_whole
    from dycoke_cli.display.targets import target_table
    from dycoke_cli.errors import FailedItemsError

    summary = summarise(findings)
    held = verdicts(summary, decoding)
    record = bench_record(summary, held)
    if output is not None:
        write_whole(output, json_text(record, "utf-8") + "\n")
        if callbacks is not None:
            callbacks.notice(f"Everything that was measured is in {output}")
    if as_json:
        write_json(record)
    else:
        console = Console(highlight=False)
        for part in bench_tables(summary):
            console.print(part)
        if targets:
            for part in target_table(held):
                console.print(part)
    sys.stdout.flush()  # here, where a full disk is still reported
    if findings.interrupted:
        raise KeyboardInterrupt
    if findings.failures:
        first = findings.failures[0]
        raise FailedItemsError(f"{first['label']}: {first['error']}", "Use fewer --frames or a smaller --batch")
