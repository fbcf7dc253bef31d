"""Measure all speed and memory targets that can be tested on this machine, and write the README's table of them.

    uv run python -m benchmarks.speed [--device cpu|cuda] [--repeat 3] [--out FILE] [--ffmpeg PATH]
    uv run python -m benchmarks.speed --readme    # write the results files between the README's markers

Networks have real sizes and random weights; see `dycoke bench --help`. CPU: the 0.5B text shape in float32 with two
threads (8 GB, ten minutes or more), and, if ffmpeg is found, the decoding of a clip compared with it. CUDA: the 7B
shape in bfloat16 (24 GB for one row, 80 GB for sixteen). Results are written to benchmarks/results/speed-cpu.json or
speed-cuda.json.
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from dycoke_cli.bench.case import BenchResult
from dycoke_cli.bench.plan import target_plan
from dycoke_cli.bench.run import bench
from dycoke_cli.bench.target import verdicts
from dycoke_cli.cli.bench import save, show
from dycoke_cli.cli.interrupt import INTERRUPTED, Termination
from dycoke_cli.cli.terminal import Terminal
from dycoke_cli.config.settings import Settings
from dycoke_cli.display.bench_records import target_record
from dycoke_cli.display.output_files import write_file
from dycoke_cli.display.panel import seconds, size
from dycoke_cli.display.targets import MET, bound, figure
from dycoke_cli.errors import DyCokeError
from dycoke_cli.system.device import choose_device

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- speed: written by `python -m benchmarks.speed --readme` -->", "<!-- end of speed -->"
KINDS = ("cpu", "cuda")
COMPILED_S = 60.0  # the least that the bench of the compiled `generate` takes on a GPU


def decoding_ratio(ffmpeg: str | None, rounds: int) -> float | None:
    """Return the time of decoding and resizing divided by ffmpeg's decoding time; None without ffmpeg."""
    if ffmpeg is None:
        return None
    from benchmarks import decoding

    with tempfile.TemporaryDirectory() as folder:
        ratio: float = decoding.measure(rounds, 16, ffmpeg, Path(folder))["reading"]["auto"]["wall_ratio"]
    return ratio


def measure(
    device: str, repeats: int, out: Path | None, ffmpeg: str | None, left_s: Callable[[], float] = lambda: math.inf
) -> None:
    """Run the measurements for the targets of a device, print and save them; after each case what there is so far.

    left_s: returns the seconds until the caller's time limit, in which the compiled `generate` may find no room.
    """
    kind = choose_device(device).type
    out = out or RESULTS / f"speed-{kind}.json"
    plan = target_plan(Settings(device=device), repeats)
    # Last, on one case, because compiling takes a minute for each: no target is beside it.
    compiled = replace(plan, cases=plan.cases[:1], arms=(), stock=False)
    plan = replace(plan, compiled_stock="no")
    with Terminal(quiet=False, stats=False, answers=False, several=False, counted=True) as terminal:
        terminal.progress("Decoding beside ffmpeg", 0, 0)
        # First, so that a failure loses no other measurement.
        ratio = decoding_ratio(ffmpeg, repeats) if kind == "cpu" else None
        result = bench(plan, terminal.callbacks, lambda result: save(result, out, ratio))
        if compiled.stocks and not result.interrupted:
            if left_s() < COMPILED_S:
                terminal.callbacks.notice(f"{compiled.stocks[0]} is left out, for lack of time")
            else:
                result = joined(result, bench(compiled, terminal.callbacks))
    show(result, out, False, True, terminal.callbacks, ratio)


def joined(result: BenchResult, more: BenchResult) -> BenchResult:
    """Add the arms and runs of a second bench of the same network to a first one."""
    return replace(
        result,
        arms=[*result.arms, *more.arms],
        runs=[*result.runs, *more.runs],
        peaks=result.peaks | more.peaks,
        failures=[*result.failures, *more.failures],
        first_decodes=[*result.first_decodes, *more.first_decodes],
        interrupted=more.interrupted,
    )


def filled(readme: str, results: Mapping[str, dict[str, Any]]) -> str:
    """Write the results between the markers of a text. Raises ValueError unless each marker occurs once."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"the README needs one line {BEGIN!r} and one {END!r}")
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return "\n".join([before + BEGIN, "", *_targets(results), *_machines(results), END + after])


def _targets(results: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Yield a table line for every target, with the first result that tests it."""
    yield from ("| promise, K=0.7 and P=0.7 | bound | measured | |", "|---|---|---|---|")
    for setup, group in groupby(verdicts(None), key=lambda verdict: verdict.target.setup):
        yield f"| *{setup.text}* | | | |"
        for verdict in group:
            target = verdict.target
            tested = [
                found
                for result in results.values()
                for found in result["targets"]
                if found["key"] == target.key and found["met"] is not None and found["bound"] == target.bound
            ]
            found = tested[0] if tested else target_record(verdict)
            word = MET[found["met"]][0]
            yield f"| {target.text} | {bound(verdict)} | {figure(found['value'], target.unit)} | {word} |"
    yield ""


def _machines(results: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the machine and a table of the medians of each results file."""
    for result in results.values():
        machine, shape, limits = result["machine"], result["shape"], result["limits"]
        threads = f" with {limits['threads']} threads" if limits["threads"] else ""
        yield (
            f"{machine['device_name']}{threads}, {shape['name']} in {shape['dtype']}, torch {machine['torch']}, "
            f"transformers {machine['transformers']}; copies {limits['copy_bytes_per_s'] / 1e9:.1f} GB/s, multiplies "
            f"{limits['matrix_flops_per_s'] / 1e12:.3g} TFLOP/s. Medians of {result['repeats']}:"
        )
        yield from (
            "",
            "| tokens | arm | first token | per token | total | peak above weights |",
            "|---|---|---|---|---|---|",
        )
        for row in result["summary"]:
            case, times = row["case"], row["time_s"]
            tokens = f"{case['visual']:,}" + (f" × {case['batch']}" if case["batch"] > 1 else "")
            cells = [
                seconds(times[phase] and times[phase]["median"]) for phase in ("first_token", "per_token", "total")
            ]
            yield f"| {tokens} | {' | '.join((row['label'], *cells, size(row['peak_above_weights'])))} |"
        yield ""


def write_readme() -> None:
    """Write the existing results files into the README."""
    found = {kind: RESULTS / f"speed-{kind}.json" for kind in KINDS}
    results = {kind: json.loads(path.read_text(encoding="utf-8")) for kind, path in found.items() if path.exists()}
    readme = ROOT / "README.md"
    write_file(readme, filled(readme.read_text(encoding="utf-8"), results))


def main() -> int:
    """Measure, or write the README; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"), help="ffmpeg to compare decoding with")
    parser.add_argument("--readme", action="store_true")
    arguments = parser.parse_args()
    Termination().install()
    try:
        if arguments.readme:
            write_readme()
        else:
            measure(arguments.device, arguments.repeat, arguments.out, arguments.ffmpeg)
    except DyCokeError as error:
        print(f"{error.message}\n  {error.remedy}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
