"""Make the README's console blocks from real runs, or check that they are what comes out.

    python -m benchmarks.readme            # run every command of every block and write what it prints
    python -m benchmarks.readme --check    # run them, and say where the README differs in more than measured values

The README says what is run (`$ dycoke ...`), and by CUT what is left out: as a line, any number of lines; within one,
any part of it. Lines around a cut are found again by what is not measured in them. Commands run in an empty folder that
holds `sample_videos`, 80 columns wide, without colours, with empty caches and without the hub. An `ask` prints its
panel, as it does on a terminal. `uv run pytest` is not run.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CUT = "[…]"
NOT_RUN = ("uv run pytest",)  # it would run this
SURROUNDINGS = {
    "COLUMNS": "80",
    "NO_COLOR": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "huggingface",  # in the folder of the run
    "HF_HUB_CACHE": "huggingface/hub",
    "HF_ASSETS_CACHE": "huggingface/assets",
    "XDG_CONFIG_HOME": "config",
}

# Arguments of dycoke, its stdin, the folder -> stdout and stderr as one.
Run = Callable[[Sequence[str], str, Path], str]

# What another machine or another run changes, in the order of replacement.
_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_UNIT = r"(?:µs|ms|s|min|h|[KMGT]i?B)\b"
MEASURED = [
    (rf"{_NUMBER}–{_NUMBER} {_UNIT}", ""),  # left out where both ends are shown alike
    (rf"[+−-]?{_NUMBER} {_UNIT}", "‹measured›"),
    (r"\b\d+:\d\d(?::\d\d)?\b", "‹measured›"),
    (rf"^( *clips a minute +){_NUMBER}$", r"\1‹measured›"),
    (rf"^( *clips in a batch, mean +){_NUMBER}$", r"\1‹measured›"),  # by free memory
    (r"[▁▂▃▄▅▆▇█]+|\d+×, \d+ tokens", "‹rounding›"),  # what is chosen anew hangs on the last bits of scores
    (rf"{_NUMBER}×", "‹ratio›"),
    (r"(?<![\d.])\d+%", "‹ratio›"),
    (r"\b(torch|transformers|Python) \d[\w.+]*", r"\1 ‹version›"),
    (r"\bcpu \([^)]*\)", "cpu"),
    (r"[─╌━]+", "─"),
]


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the number of its first line of content (from 0), and the content."""

    language: str
    begin: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """One command of a console block, and the lines that the README shows of its output."""

    command: str
    begin: int
    lines: tuple[str, ...]


class StaleError(Exception):
    """A command of the README that fails, or a line around a cut that it no longer prints."""


def blocks(text: str, language: str) -> list[Block]:
    """Find the fenced blocks of a language."""
    found, lines = [], text.splitlines()
    opened: tuple[str, int] | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = line[3:], number + 1
        else:
            found.append(Block(opened[0], opened[1], tuple(lines[opened[1] : number])))
            opened = None
    return [block for block in found if block.language == language]


def commands(block: Block) -> list[Shown]:
    """Split a console block at its prompts."""
    starts = [number for number, line in enumerate(block.lines) if line.startswith("$ ")]
    ends = [*starts[1:], len(block.lines)]
    return [
        Shown(block.lines[start][2:], block.begin + start + 1, block.lines[start + 1 : end])
        for start, end in zip(starts, ends, strict=True)
    ]


def masked(lines: Sequence[str]) -> list[str]:
    """Give the lines without what is measured; lines of nothing else, and blank ones, are gone."""
    plain = []
    for line in lines:
        for pattern, name in MEASURED:
            line = re.sub(pattern, name, line)
        plain.append(" ".join(line.split()))
    return [line for line in plain if line.strip(" │")]


def refreshed(shown: Shown, output: Sequence[str]) -> list[str]:
    """Give what the README is to show of an output, cut where it is cut now. Raises StaleError."""
    if not shown.lines:
        return list(output)
    fresh: list[str] = []
    at = 0
    runs = _uncut(shown.lines)
    for number, run in enumerate(runs):
        if number:
            fresh.append(CUT)
        if not run:
            continue
        first = at if not number else _find(run[0], output, at)
        at = len(output) if number == len(runs) - 1 else _find(run[-1], output, first + len(run) - 1) + 1
        fresh += [_cut_alike(line, run) for line in output[first:at]]
    return fresh


def _uncut(lines: Sequence[str]) -> list[list[str]]:
    """Split lines at the cuts between them."""
    runs: list[list[str]] = [[]]
    for line in lines:
        if line.strip() == CUT:
            runs.append([])
        else:
            runs[-1].append(line)
    return runs


def _find(wanted: str, output: Sequence[str], begin: int) -> int:
    """Give the place of the first line, from `begin` on, that differs from the wanted one in measured values alone."""
    for number in range(begin, len(output)):
        if _alike(wanted, output[number]):
            return number
    raise StaleError(f"it no longer prints a line like: {wanted}")


def _alike(wanted: str, line: str) -> bool:
    """Whether two lines differ in nothing but measured values and what is cut out."""
    if CUT not in wanted:
        return masked([wanted]) == masked([line])
    parts = [re.escape("".join(masked([part]))) for part in wanted.split(CUT)]
    return re.fullmatch(r"\s*.*?\s*".join(parts), "".join(masked([line]))) is not None


def _cut_alike(line: str, run: Sequence[str]) -> str:
    """Cut a line as the README cuts it, if it does."""
    return next((wanted for wanted in run if CUT in wanted and _alike(wanted, line)), line)


def output_of(command: str, run: Run, folder: Path) -> list[str]:
    """Run one command line in a folder and give what it prints, without trailing spaces and the empty lines around."""
    words, stdin = _dycoke(command)
    if words is None:
        done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True)
        printed = done.stdout
    else:
        if words[0] == "ask" and not {"-q", "--json", "--no-stats"} & set(words):
            words = [*words, "--stats"]
        printed = run(words, stdin, folder)
    return [line.rstrip() for line in printed.strip("\n").splitlines()]


def _dycoke(command: str) -> tuple[list[str] | None, str]:
    """Read `printf TEXT | uv run dycoke ARGUMENTS`, of which the ends may be missing: arguments and stdin."""
    stdin, _, last = command.rpartition(" | ")
    words = shlex.split(last)
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words[0] != "dycoke":
        return None, ""
    fed = subprocess.run(stdin, shell=True, capture_output=True, text=True, check=True).stdout if stdin else ""
    return words[1:], fed


def outputs(text: str, run: Run, folder: Path) -> Iterator[tuple[Shown, list[str]]]:
    """Run all that the console blocks show, in order, and give what each prints."""
    (folder / "sample_videos").symlink_to(ROOT / "sample_videos")
    for block in blocks(text, "console"):
        for shown in commands(block):
            if shown.command not in NOT_RUN:
                yield shown, output_of(shown.command, run, folder)


def rewritten(text: str, run: Run, folder: Path) -> str:
    """Give the README with what its commands print now. Raises StaleError."""
    lines = text.splitlines()
    for shown, output in reversed(list(outputs(text, run, folder))):
        lines[shown.begin : shown.begin + len(shown.lines)] = refreshed(shown, output)
    return "\n".join(lines) + "\n"


def differences(text: str, run: Run, folder: Path) -> list[str]:
    """Say which commands print anything else, measured values aside, than the README shows."""
    wrong = []
    for shown, output in outputs(text, run, folder):
        where = f"README.md:{shown.begin}: $ {shown.command}"
        try:
            fresh = refreshed(shown, output)
        except StaleError as error:
            wrong.append("\n".join([where, str(error), "now prints:", *output]))
            continue
        if masked(fresh) != masked(shown.lines):
            wrong.append("\n".join([where, "now prints:", *fresh]))
    return wrong


def run_apart(words: Sequence[str], stdin: str, folder: Path) -> str:
    """Run dycoke in a process of its own; stdout and stderr come as a terminal would show them. Raises StaleError."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DYCOKE_")}
    done = subprocess.run(
        [sys.executable, "-m", "dycoke_cli", *words],
        input=stdin, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**ours, **SURROUNDINGS, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        raise StaleError(f"dycoke {shlex.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def main() -> int:
    """Write, or check; returns 1 where the README is not what comes out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        try:
            if not arguments.check:
                README.write_text(rewritten(text, run_apart, Path(folder)), encoding="utf-8")
                return 0
            wrong = differences(text, run_apart, Path(folder))
        except StaleError as error:
            wrong = [str(error)]
    for each in wrong:
        print(each, file=sys.stderr, end="\n\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
