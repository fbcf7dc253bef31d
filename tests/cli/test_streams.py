"""Every command with stdout and stderr that are not UTF-8, and with file names that are not valid Unicode."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dycoke_cli.bench import peak
from dycoke_cli.bench import run as bench_run
from dycoke_cli.cli.app import run
from dycoke_cli.cli.streams import json_text
from tests.bench.made import LIMITS

ROOT = Path(__file__).parents[2]
CUBE = str(ROOT / "sample_videos" / "cube.mp4")
QUESTIONS = str(ROOT / "dycoke_cli" / "demo" / "clips" / "questions.yaml")
QUICK = ["-m", "demo", "-n", "2", "--max-new-tokens", "2"]
COMMANDS = {
    "ask": ["ask", CUBE, "ist das ein Würfel – 立方体?", *QUICK, "--stats"],
    "caption": ["caption", "clips", *QUICK],
    "dry run": ["caption", "clips", *QUICK, "--overwrite", "--dry-run"],
    "compare": ["compare", *QUICK, "--repeat", "2", "-M", "full"],
    "eval": ["eval", QUESTIONS, *QUICK],
    "bench": ["bench", "--frames", "4", "--new-tokens", "2", "--repeat", "1", "--device", "cpu", "-M", "full"],
    "methods": ["methods"],
    "method": ["methods", "vidcom2+dynamic"],
    "models": ["models", "list"],
    "config": ["config", "show"],
    "cache": ["cache", "info"],
    "path": ["config", "path"],
    "help": ["ask", "--help"],
    "mistake": ["ask", CUBE, "立方体?", "-M", "立方体"],
}
Shell = Callable[..., tuple[int, bytes, bytes]]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with one clip and an empty cache; isolate from the user's settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    shutil.copy(CUBE, tmp_path / "clips" / "würfel–立.mp4")
    (tmp_path / "encoded").mkdir()
    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", lambda: tmp_path / "encoded")
    monkeypatch.setattr(bench_run, "peaks_apart", peak.measured_peaks)
    monkeypatch.setattr(bench_run, "measure_limits", lambda device, dtype: LIMITS)
    return tmp_path


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Run a command with strict streams of an encoding -> exit code, stdout, stderr."""

    def started(encoding: str, *arguments: str) -> tuple[int, bytes, bytes]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", write_through=True) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            code = run(list(arguments))
        out, err = (stream.detach().getvalue() for stream in streams)
        return code, out, err

    return started


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_fails_on_unencodable_characters(shell: Shell, name: str) -> None:
    """ASCII streams: other characters are replaced, and the exit code does not change."""
    if name == "cache":
        assert shell("ascii", *COMMANDS["ask"][:3], *QUICK)[0] == 0  # adds an entry to list
    code, out, err = shell("ascii", *COMMANDS[name])
    assert code == (2 if name == "mistake" else 0), err
    assert b"unexpected failure" not in err
    assert (out or err).decode("ascii").strip()


@pytest.mark.parametrize("name", ["caption", "dry run", "methods", "models", "config", "cache"])
def test_no_output_begins_with_an_empty_line(shell: Shell, name: str) -> None:
    """So that `| head -1` prints text, also with table borders in Unicode."""
    code, out, err = shell("utf-8", *COMMANDS[name])
    assert code == 0, err
    assert out.decode().splitlines()[0].strip()


@pytest.mark.parametrize("name", ["methods", "models", "config"])
def test_a_redirected_windows_console_can_be_decoded(shell: Shell, name: str) -> None:
    """Output in cp1252, with its dashes and signs."""
    code, out, err = shell("cp1252", *COMMANDS[name])
    assert code == 0, err
    assert out.decode("cp1252").splitlines()[0].strip()


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_json_has_the_same_values_in_any_encoding(shell: Shell, encoding: str) -> None:
    """The bytes are valid UTF-8 in every encoding of stdout."""
    code, out, err = shell(encoding, *COMMANDS["ask"][:3], *QUICK, "--json", "-q")
    assert (code, err) == (0, b"")
    assert json.loads(out.decode("utf-8"))["answers"][0]["question"] == COMMANDS["ask"][2]
    assert ("立方体".encode() in out) == (encoding == "utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16", None])
def test_json_text_can_be_encoded(encoding: str | None) -> None:
    """Including a lone surrogate, which stands for a byte of a file name."""
    for values in ({"name": "é–立"}, {"name": "\udcff.mp4"}, {"name": "plain"}):
        text = json_text(values, encoding)
        assert json.loads(text.encode(encoding or "utf-8").decode(encoding or "utf-8")) == values


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names of arbitrary bytes")
def test_every_command_accepts_a_file_name_that_is_not_unicode(shell: Shell, folder: Path) -> None:
    """Answers, JSON, reports, traces, captions, sidecars and scores of a video named by the byte 0xff."""
    video = os.fsdecode(b"\xff.mp4")
    shutil.copy(CUBE, video)
    os.mkdir("odd")
    shutil.copy(CUBE, os.path.join("odd", video))
    Path("q.jsonl").write_text(json.dumps({"video": video, "question": "what?", "answer": "red"}), encoding="ascii")
    for arguments in (
        ["ask", video, "q", "--stats", "--trace", "t.json", "--report", os.fsdecode(b"\xfe.html"), "--no-cache"],
        ["caption", "odd", "--sidecar"],
        ["eval", "q.jsonl", "--output", os.fsdecode(b"\xfd.jsonl")],
    ):
        code, _, err = shell("utf-8", *arguments, *QUICK)
        assert code == 0, (arguments, err)
    code, out, _ = shell("utf-8", "ask", video, "q", *QUICK, "--json")
    record: dict[str, Any] = json.loads(out)
    assert (code, record["video"]["path"]) == (0, video)
    for name in ("t.json", os.fsdecode(b"\xfe.html")):
        Path(name).read_text(encoding="utf-8")
    assert (folder / "odd" / os.fsdecode(b"\xff.txt")).exists()
    code, _, err = shell("utf-8", "ask", "nowhere" + video, "q", *QUICK)
    assert (code, b"udcff" in err) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", CUBE, "q\udcff"],
        ["compare", CUBE, "q\udcff"],
        ["caption", "clips", "--prompt", "q\udcff"],
        ["eval", "q.jsonl"],
    ],
    ids=lambda value: value[0],
)
def test_a_question_with_a_surrogate_is_refused(shell: Shell, arguments: list[str]) -> None:
    """Tokenizers refuse it, so the command does before it loads a model."""
    Path("q.jsonl").write_text('{"video": "v.mp4", "question": "what \\ud800?", "answer": "x"}', encoding="ascii")
    code, out, err = shell("utf-8", *arguments)
    assert (code, out) == (2, b"")
    assert b"is not text in UTF-8" in err


def test_a_piped_question_that_is_not_utf8_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like one on the command line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"what \xff?\n"), "utf-8"))
    code, out, err = shell("utf-8", "chat", CUBE, *QUICK)
    assert (code, out) == (2, b"")
    assert b"is not text in UTF-8" in err
