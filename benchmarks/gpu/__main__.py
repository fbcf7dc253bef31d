"""Run all that needs a GPU, in under eight minutes on an H100, and print one table.

    uv run python -m benchmarks.gpu [--only PART ...] [--device cuda|cpu] [--out DIR]

Each part is a process with a time limit of its own: one that crashes or is too slow leaves what it had measured, and
the other parts run. Results are written as they come: DIR/gpu.json, DIR/speed-cuda.json (the targets), and in DIR/gpu
NAME.json and NAME.txt, the record and the output of each part. DIR is benchmarks/results by default. A run replaces the
files of an earlier one, also with --only.

With --device cpu each part runs in a small form, which tests the command and may take longer; its figures mean nothing.
The exit code is 0 if all parts are done, 1 if one failed or was too slow, 2 without a CUDA device or for an unknown
part, 130 after an interruption.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.gpu import facts
from benchmarks.gpu.day import FILE, Day
from benchmarks.gpu.plan import PARTS, Part
from benchmarks.gpu.table import day_table, heading
from dycoke_cli.cli.interrupt import INTERRUPTED, Termination

USAGE = 2
SLOWER = 3  # times the seconds of the plan are allowed on a CPU
WIDTH = 150  # of the table where the output is no terminal


def chosen(names: Sequence[str] | None) -> tuple[Part, ...]:
    """Return the parts with these names in the order of the plan, all for None. Raises ValueError for another name."""
    known = [part.name for part in PARTS]
    if unknown := [name for name in names or [] if name not in known]:
        raise ValueError(f"part {unknown[0]!r} does not exist: choose from {', '.join(known)}")
    return tuple(part for part in PARTS if names is None or part.name in names)


def machine(device: str) -> dict[str, Any]:
    """Return the facts of this machine. Raises ValueError if it has not the device."""
    command = [sys.executable, "-m", "benchmarks.gpu.facts", device]
    try:
        done = subprocess.run(command, cwd=facts.ROOT, capture_output=True, text=True, timeout=facts.LIMIT_S)
    except subprocess.TimeoutExpired:
        raise ValueError(f"the device did not answer within {facts.LIMIT_S:g} s") from None
    if done.returncode == facts.NO_CUDA and device == "cuda":
        raise ValueError("torch finds no CUDA device here; --device cpu runs each part in a small form")
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or ["torch does not start"])[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(day: Day) -> None:
    """Print the table, and where the results are."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    record = day.record
    console.print(f"\n{heading(record)}")
    console.print(day_table(record))
    if day.device == "cpu":
        print("Each part ran in its small form: the figures mean nothing.")
    print(
        f"{record['seconds']:.0f} s; all results are in {day.results / FILE}, the output of each part in {day.folder}"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="PART", help=", ".join(part.name for part in PARTS))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=facts.ROOT / "benchmarks" / "results")
    given = parser.parse_args(words)
    try:
        parts, here = chosen(given.only), machine(given.device)
    except ValueError as error:
        print(error, file=sys.stderr)
        return USAGE
    Termination().install()
    others = [part.name for part in PARTS if part not in parts]
    if given.device == "cpu":
        parts = tuple(replace(part, seconds=SLOWER * part.seconds) for part in parts)
    day = Day(parts, given.out.resolve(), given.device, here, others)
    try:
        day.run()
    except KeyboardInterrupt:  # between two parts
        day.interrupted = True
        day.save()
    report(day)
    return INTERRUPTED if day.interrupted else int(not day.all_done)


if __name__ == "__main__":
    sys.exit(main())
