"""Write the output of commands into the README's console blocks, or check that the blocks are up to date.

    python -m benchmarks.readme            # run every command of every block and write its output
    python -m benchmarks.readme --check    # run them, and print where the README differs in more than measured values

A command line starts with `$ dycoke ...`. CUT marks omitted output: as a line of its own any number of lines, within a
line any part of it. Lines next to a cut are matched to the output without measured values. Commands run in a folder
that contains only `sample_videos`, 80 columns wide, without colours, with empty caches and without the hub. An `ask`
prints its panel, as on a terminal. `uv run pytest` is not run.
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
NOT_RUN = ("uv run pytest",)  # it would run this module again
ENVIRONMENT = {
    "COLUMNS": "80",
    "NO_COLOR": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": "huggingface",  # relative to the folder of the run
    "HF_HUB_CACHE": "huggingface/hub",
    "HF_ASSETS_CACHE": "huggingface/assets",
    "XDG_CONFIG_HOME": "config",
}

# (arguments of dycoke, its stdin, the working folder) -> stdout and stderr in one text
Run = Callable[[Sequence[str], str, Path], str]

# Patterns of values that differ between machines and runs, in the order of replacement.
_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_UNIT = r"(?:µs|ms|s|min|h|[KMGT]i?B)\b"
MEASURED = [
    (rf"{_NUMBER}–{_NUMBER} {_UNIT}", ""),  # ranges are omitted where both ends round to the same
    (rf"[+−-]?{_NUMBER} {_UNIT}", "‹measured›"),
    (r"\b\d+:\d\d(?::\d\d)?\b", "‹measured›"),
    (rf"^( *clips a minute +){_NUMBER}$", r"\1‹measured›"),
    (rf"^( *clips in a batch, mean +){_NUMBER}$", r"\1‹measured›"),  # depends on free memory
    (r"[▁▂▃▄▅▆▇█]+|\d+×, \d+ tokens", "‹rounding›"),  # selections depend on the last bits of scores
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
class ShownCommand:
    """One command of a console block, the line number of its output (from 0), and the output lines in the README."""

    command: str
    begin: int
    lines: tuple[str, ...]


class StaleError(Exception):
    """Raised if a command of the README fails, or no longer prints a line next to a cut."""


def blocks(text: str, language: str) -> list[Block]:
    """Return the fenced blocks of a language."""
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


def commands(block: Block) -> list[ShownCommand]:
    """Split a console block into its commands."""
    starts = [number for number, line in enumerate(block.lines) if line.startswith("$ ")]
    ends = [*starts[1:], len(block.lines)]
    return [
        ShownCommand(block.lines[start][2:], block.begin + start + 1, block.lines[start + 1 : end])
        for start, end in zip(starts, ends, strict=True)
    ]


def masked(lines: Sequence[str]) -> list[str]:
    """Replace measured values by placeholders, and remove blank lines and lines of measured ranges alone."""
    plain = []
    for line in lines:
        for pattern, name in MEASURED:
            line = re.sub(pattern, name, line)
        plain.append(" ".join(line.split()))
    return [line for line in plain if line.strip(" │")]


def refreshed(shown: ShownCommand, output: Sequence[str]) -> list[str]:
    """Return the output lines to show in the README, with its present cuts. Raises StaleError."""
    if not shown.lines:
        return list(output)
    fresh: list[str] = []
    at = 0
    runs = _split_at_cuts(shown.lines)
    for number, run in enumerate(runs):
        if number:
            fresh.append(CUT)
        if not run:
            continue
        first = at if not number else _find(run[0], output, at)
        at = len(output) if number == len(runs) - 1 else _find(run[-1], output, first + len(run) - 1) + 1
        fresh += [_with_cuts(line, run) for line in output[first:at]]
    return fresh


def _split_at_cuts(lines: Sequence[str]) -> list[list[str]]:
    """Split lines at lines that are cuts."""
    runs: list[list[str]] = [[]]
    for line in lines:
        if line.strip() == CUT:
            runs.append([])
        else:
            runs[-1].append(line)
    return runs


def _find(wanted: str, output: Sequence[str], begin: int) -> int:
    """Return the index of the first line, from `begin` on, that matches `wanted`. Raises StaleError if none does."""
    for number in range(begin, len(output)):
        if _matches(wanted, output[number]):
            return number
    raise StaleError(f"it no longer prints a line like: {wanted}")


def _matches(wanted: str, line: str) -> bool:
    """Return whether two lines differ only in measured values and in parts that `wanted` cuts out."""
    if CUT not in wanted:
        return masked([wanted]) == masked([line])
    parts = [re.escape("".join(masked([part]))) for part in wanted.split(CUT)]
    return re.fullmatch(r"\s*.*?\s*".join(parts), "".join(masked([line]))) is not None


def _with_cuts(line: str, run: Sequence[str]) -> str:
    """Return the README's line with cuts that matches `line`, or `line` itself."""
    return next((wanted for wanted in run if CUT in wanted and _matches(wanted, line)), line)


def output_of(command: str, run: Run, folder: Path) -> list[str]:
    """Run a command line in a folder; return its output lines, without trailing spaces and outer blank lines."""
    words, stdin = _parse_command(command)
    if words is None:
        done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True)
        printed = done.stdout
    else:
        if words[0] == "ask" and not {"-q", "--json", "--no-stats"} & set(words):
            words = [*words, "--stats"]
        printed = run(words, stdin, folder)
    return [line.rstrip() for line in printed.strip("\n").splitlines()]


def _parse_command(command: str) -> tuple[list[str] | None, str]:
    """Parse `[COMMAND |] [uv run] dycoke ARGUMENTS` into arguments and stdin; None for any other command."""
    stdin, _, last = command.rpartition(" | ")
    words = shlex.split(last)
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if words[0] != "dycoke":
        return None, ""
    fed = subprocess.run(stdin, shell=True, capture_output=True, text=True, check=True).stdout if stdin else ""
    return words[1:], fed


def outputs(text: str, run: Run, folder: Path) -> Iterator[tuple[ShownCommand, list[str]]]:
    """Run the commands of the console blocks in order, and yield each with its output lines."""
    (folder / "sample_videos").symlink_to(ROOT / "sample_videos")
    for block in blocks(text, "console"):
        for shown in commands(block):
            if shown.command not in NOT_RUN:
                yield shown, output_of(shown.command, run, folder)


def rewritten(text: str, run: Run, folder: Path) -> str:
    """Return the README's text with the present output of its commands. Raises StaleError."""
    lines = text.splitlines()
    for shown, output in reversed(list(outputs(text, run, folder))):
        lines[shown.begin : shown.begin + len(shown.lines)] = refreshed(shown, output)
    return "\n".join(lines) + "\n"


def differences(text: str, run: Run, folder: Path) -> list[str]:
    """Return a message for each command whose output differs from the README in more than measured values."""
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


def run_in_subprocess(words: Sequence[str], stdin: str, folder: Path) -> str:
    """Run dycoke in a subprocess; return stdout and stderr, interleaved. Raises StaleError if it fails."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DYCOKE_")}
    done = subprocess.run(
        [sys.executable, "-m", "dycoke_cli", *words],
        input=stdin, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**inherited, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        raise StaleError(f"dycoke {shlex.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def main() -> int:
    """Write or check the README; return 1 if a command fails or the check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        try:
            if not arguments.check:
                README.write_text(rewritten(text, run_in_subprocess, Path(folder)), encoding="utf-8")
                return 0
            wrong = differences(text, run_in_subprocess, Path(folder))
        except StaleError as error:
            wrong = [str(error)]
    for each in wrong:
        print(each, file=sys.stderr, end="\n\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
