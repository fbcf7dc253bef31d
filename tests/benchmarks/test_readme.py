"""The README is up to date: console and Python blocks run, commands of shell blocks parse."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from benchmarks.readme import (
    CUT,
    ENVIRONMENT,
    README,
    ROOT,
    Block,
    ShownCommand,
    StaleError,
    blocks,
    commands,
    differences,
    masked,
    output_of,
    refreshed,
    rewritten,
)
from dycoke_cli.cli.app import app
from tests.captioning.launcher import Launcher

TEXT = README.read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="runs are forked, and blocks use a shell")
def test_console_blocks_are_what_comes_out(tmp_path: Path) -> None:
    """The output of every command differs from the README in measured values only.

    If this fails, run `python -m benchmarks.readme`, which rewrites the blocks; review the difference and commit it.
    """
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    launcher = Launcher(**ENVIRONMENT)

    def run(words: Sequence[str], stdin: str, folder: Path) -> str:
        (other / "stdin").write_text(stdin)
        (other / "log").unlink(missing_ok=True)
        code = launcher.wait(launcher.start(other / "log", *words, folder=folder, stdin=str(other / "stdin")))
        assert code == 0, (words, (other / "log").read_text())
        return (other / "log").read_text()

    try:
        assert differences(TEXT, run, folder) == []
    finally:
        launcher.close()


@pytest.mark.parametrize("block", blocks(TEXT, "python"), ids=lambda block: f"line {block.begin}")
def test_python_blocks_run(block: Block, tmp_path: Path) -> None:
    """Each block runs in a fresh interpreter beside the sample videos, without warnings, and prints something."""
    (tmp_path / "sample_videos").symlink_to(ROOT / "sample_videos")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(block.lines)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def shell_commands() -> list[list[str]]:
    """Return the commands of all shell blocks, without `uv run`, pipes and wrappers."""
    found = []
    for block in blocks(TEXT, "sh"):
        for line in "\n".join(block.lines).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "--wrap" in words:  # an option of sbatch
                words = shlex.split(words[words.index("--wrap") + 1])
            if "|" in words:
                words = words[words.index("|") + 1 :]
            for before in (["uvx", "--from", "."], ["uv", "run"], ["python"]):
                if words[: len(before)] == before:
                    words = words[len(before) :]
            if words[:1] == ["dycoke"] or (words[:1] == ["-m"] and words[1].startswith("benchmarks.")):
                found.append(words)
    return found


@pytest.mark.parametrize("words", shell_commands(), ids=shlex.join)
def test_commands_of_shell_blocks_exist(words: list[str]) -> None:
    """Every option exists and accepts its value; every module exists."""
    if words[0] == "-m":
        assert find_spec(words[1]) is not None
        return
    command, arguments = typer.main.get_command(app), words[1:]
    name = "dycoke"
    if arguments == ["--install-completion"]:  # would install it
        return
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        name, command, arguments = arguments[0], command.commands[arguments[0]], arguments[1:]
    command.make_context(name, list(arguments))


def test_there_are_blocks_of_each_kind() -> None:
    """The functions above find blocks and commands."""
    assert len(blocks(TEXT, "console")) >= 8
    assert len(blocks(TEXT, "python")) >= 2
    assert len(shell_commands()) >= 40


def test_measured_values_are_masked_and_nothing_else() -> None:
    """Times, sizes, ratios and versions may differ; counts, shares and words may not. Range lines may be missing."""
    measured = ["", " total   1.06 s   4.2 ms  2.48×  115%", "    1.05–1.07 s  4.1–4.3 ms", "│  │"]
    assert masked([*measured, "torch 2.15.0, kept 276  47.9%"]) == masked(
        [" total  998 ms  4.25 ms  3×  99%", "torch 2.16.1+cpu, kept 276 47.9%"]
    )
    for one, other in (("47.9%", "48.0%"), ("276", "277"), ("red", "blue"), ("1.5 G", "1.6 G"), ("−6.8", "−6.7")):
        assert masked([one]) != masked([other])


OUTPUT = ["title", "first 1 s", "second 2 s", "third 3", "last {id: 7, path: /x, when: 9}"]


@pytest.mark.parametrize(
    ("shown", "fresh"),
    [
        ([], OUTPUT),
        (["anything"], OUTPUT),
        (["title", "first 8 s", CUT, "third 3", CUT], ["title", "first 1 s", CUT, "third 3", CUT]),
        ([CUT, "second 9 ms", f"third {CUT}", CUT], [CUT, "second 2 s", f"third {CUT}", CUT]),
        ([CUT, f"last {{id: 7, path: {CUT}}}"], [CUT, f"last {{id: 7, path: {CUT}}}"]),
        ([CUT], [CUT]),
    ],
)
def test_cuts_stay_where_they_are(shown: list[str], fresh: list[str]) -> None:
    """Lines between cuts are replaced by the new output."""
    assert refreshed(ShownCommand("x", 0, tuple(shown)), OUTPUT) == fresh


@pytest.mark.parametrize("shown", [["title", CUT, "third 4"], [CUT, "fourth", CUT], [CUT, f"last {{id: 8, {CUT}", CUT]])
def test_a_line_that_is_gone_is_named(shown: list[str]) -> None:
    """A line next to a cut that is no longer printed raises StaleError."""
    with pytest.raises(StaleError, match="no longer prints"):
        refreshed(ShownCommand("x", 0, tuple(shown)), [*OUTPUT, "end"])


MADE = """\
```console
$ dycoke ask a.mp4 "what?"
red
$ uv run pytest
[…] passed
$ printf 'a\\nb\\n' | uv run dycoke chat -q
old
```
```sh
dycoke not --shown
```
"""


def test_the_readme_is_rewritten_from_output(tmp_path: Path) -> None:
    """Commands run in order with their stdin, `ask` with --stats; blocks may grow; blocks not run stay unchanged."""
    calls = []

    def run(words: Sequence[str], stdin: str, folder: Path) -> str:
        calls.append((list(words), stdin))
        return "\nred  \nand more\n" if words[0] == "ask" else stdin

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    made = rewritten(MADE, run, tmp_path / "one")
    assert calls == [(["ask", "a.mp4", "what?", "--stats"], ""), (["chat", "-q"], "a\nb\n")]
    assert made == MADE.replace("red\n", "red\nand more\n").replace("old\n", "a\nb\n")
    (wrong, chat) = differences(MADE, run, tmp_path / "two")
    assert wrong.startswith('README.md:2: $ dycoke ask a.mp4 "what?"\nnow prints:\nred')
    assert "README.md:6: " in chat


def test_other_commands_run_in_the_shell(tmp_path: Path) -> None:
    """A block may run shell commands on files that an earlier command wrote."""
    (tmp_path / "x.jsonl").write_text("b\na\n")

    def run(words: Sequence[str], stdin: str, folder: Path) -> str:
        raise AssertionError("not dycoke")

    assert output_of("sort x.jsonl | head -n 1", run, tmp_path) == ["a"]


def test_commands_have_line_numbers() -> None:
    """A block is split at its prompts; line numbers count from 0 in the file."""
    (block,) = blocks(MADE, "console")
    shown = commands(block)
    assert [one.begin for one in shown] == [2, 4, 6]
    assert [one.lines for one in shown] == [("red",), ("[…] passed",), ("old",)]
