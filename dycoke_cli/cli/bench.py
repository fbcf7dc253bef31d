"""`dycoke bench`: measure speed and memory on this machine."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dycoke_cli.cli import options as opt
from dycoke_cli.cli.streams import json_text, write_json
from dycoke_cli.errors import FailedItemsError, UsageError

if TYPE_CHECKING:
    from dycoke_cli.bench.case import BenchResult
    from dycoke_cli.bench.plan import Plan
    from dycoke_cli.system.callbacks import Callbacks

LISTS = ("frames", "visual_tokens", "batch")
RESULTS = Path("benchmarks/results")  # of the repository; in other folders only --output writes a file


@opt.add_settings({"device", "dtype", "compile", "start", "end", "decoder", "video_timeout"})
def bench_command(
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Model size: demo, 0.5b, 7b or 72b. (default: demo on a CPU; on a GPU 7b if it fits, else 0.5b)",
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-M",
            metavar="NAME[:K=V,...]",
            help="Arm to measure: a method, with its own options after a colon, or transformers' generate, also as "
            "generate:compiled with a static cache and torch.compile. Repeat for several. (default: generate, full, "
            "dycoke; on a GPU also generate:compiled)",
        ),
    ] = None,
    option: opt.MethodOptions = None,
    frames: Annotated[
        str | None,
        typer.Option(
            "--frames",
            "-n",
            metavar="N,N,...",
            help="Numbers of frames to measure. (default: 8,16,32 on a CPU, 16,32,64 on a GPU)",
        ),
    ] = None,
    visual_tokens: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Numbers of random visual tokens, instead of frames and vision tower."),
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="N,N,...", help="Batch sizes; above 1 the vision tower is left out.")
    ] = "1",
    new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens in each answer. (default: 16 on a CPU, 128 on a GPU)")
    ] = None,
    video: Annotated[
        str | None, typer.Option(metavar="FILE", help="Video file to decode in every run, instead of random frames.")
    ] = None,
    repeat: Annotated[int, typer.Option(metavar="N", help="Measured runs of each arm; arms take turns.")] = 3,
    layers: Annotated[
        int | None, typer.Option(metavar="N", help="Number of layers, for a quick estimate. (default: all)")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads. (default: one per core)")] = None,
    targets: Annotated[
        bool, typer.Option("--targets", help="Measure the speed targets for this device, and print which are met.")
    ] = False,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="JSON file for all results. (default: bench.json in benchmarks/results, if it exists)"
        ),
    ] = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    config: opt.Config = None,
    debug: opt.Debug = False,
    **flags: Any,
) -> None:
    """Measure speed and memory on this machine.

    Models have their real sizes and random weights: nothing is downloaded, and answers are meaningless, but times and
    memory are real. Each arm is warmed up, then the arms take turns on the same weights and inputs; times are medians.
    The machine's best rates of copying memory and multiplying matrices are measured for comparison. Ctrl-C or SIGTERM
    prints and saves the results so far.
    """
    given = dict(locals())
    from dycoke_cli.cli.terminal import Terminal
    from dycoke_cli.display.output_files import check_outputs
    from dycoke_cli.video.path import readable_path

    if output is None and RESULTS.is_dir():
        output = RESULTS / "bench.json"
    for name, value in (("--repeat", repeat), ("--threads", threads), ("--new-tokens", new_tokens)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}, which is below 1", f"Use {name} 1 or above, or leave it out")
    if video == "-":
        raise UsageError("--video - (stdin) can be read only once, and every run reads the video", "Name a file")
    if video is not None:
        given["video"] = video = readable_path(video)
    check_outputs({"--output": output}, [video, config])  # before the measurements, not after them
    own = [key for key in ("shape", "methods", "option", "frames", "visual_tokens", "new_tokens", "video", "layers",
                           "threads") if given[key] is not None]  # fmt: skip
    if targets and own:
        flag = "--method" if own[0] == "methods" else f"--{own[0].replace('_', '-')}"
        raise UsageError(f"--targets sets its own sizes and excludes {flag}", "Leave one of the two out")
    with Terminal(quiet=quiet, stats=False, answers=False, several=False, counted=True) as terminal:
        terminal.progress("Preparing", 0, 0)  # torch alone takes seconds
        plan = _plan(given, flags, config)
        from dycoke_cli.bench.run import bench

        result = bench(plan, terminal.callbacks, partial(save, output=output) if output is not None else None)
    show(result, output, as_json, targets, None if quiet else terminal.callbacks)


def _plan(given: dict[str, Any], flags: dict[str, Any], config: Path | None) -> "Plan":
    """Return the arms and sizes to measure."""
    from dycoke_cli.cli.arms import read_arms
    from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED, split_stock

    names, stocks = split_stock(given["methods"] or [])
    stock = given["methods"] is None or STOCK in stocks
    compiled_stock = None if given["methods"] is None else STOCK_COMPILED in stocks
    if given["methods"] is None:
        settings, arms = read_arms(flags, [], given["option"] or [], True, config)
    elif names:
        settings, arms = read_arms(flags, names, given["option"] or [], False, config)
    else:
        settings, arms = read_arms(flags, [], [], False, config)[0], []
    from dycoke_cli.bench.plan import BenchOptions, make_plan, target_plan, whole_numbers

    if given["targets"]:
        return target_plan(settings, given["repeat"])
    counted = {key: whole_numbers(f"--{key.replace('_', '-')}", given[key]) for key in LISTS}
    sizes: dict[str, Any] = {key: given[key] for key in ("shape", "layers", "video", "threads", "new_tokens")}
    wish = BenchOptions(**(sizes | counted), repeats=given["repeat"])
    return make_plan(wish, arms, stock, settings, compiled_stock)


def show(
    result: "BenchResult",
    output: Path | None,
    as_json: bool,
    targets: bool,
    callbacks: "Callbacks | None",
    decoding: float | None = None,
) -> None:
    """Print the results and save them to `output`.

    targets: also print the targets. decoding: see `target.verdicts`. Raises KeyboardInterrupt if the bench was
    interrupted, FailedItemsError if an arm failed.
    """
    from rich.console import Console

    from dycoke_cli.bench.summary import summarise
    from dycoke_cli.bench.target import verdicts
    from dycoke_cli.display.bench import bench_tables
    from dycoke_cli.display.bench_records import bench_record
    from dycoke_cli.display.targets import target_table

    summary = summarise(result)
    held = verdicts(summary, decoding)
    if output is not None:
        save(result, output, decoding)
        if callbacks is not None:
            callbacks.notice(f"All results are in {output}")
    if as_json:
        write_json(bench_record(summary, held))
    else:
        console = Console(highlight=False)
        for part in bench_tables(summary):
            console.print(part)
        if targets:
            for part in target_table(held):
                console.print(part)
    sys.stdout.flush()  # a full disk raises here
    if result.interrupted:
        raise KeyboardInterrupt
    if result.failures:
        first = result.failures[0]
        remedy = first.get("remedy", "Use fewer --frames or a smaller --batch")
        raise FailedItemsError(f"{first['label']}: {first['error']}", remedy)


def save(result: "BenchResult", output: Path, decoding: float | None = None) -> None:
    """Write the measurements so far and the verdicts on them to a JSON file; decoding: see `target.verdicts`."""
    from dycoke_cli.bench.summary import summarise
    from dycoke_cli.bench.target import verdicts
    from dycoke_cli.display.bench_records import bench_record
    from dycoke_cli.display.output_files import write_file

    summary = summarise(result)
    write_file(output, json_text(bench_record(summary, verdicts(summary, decoding)), "utf-8") + "\n")
