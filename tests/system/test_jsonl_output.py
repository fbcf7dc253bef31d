"""JSON Lines output: no record is lost, and content in other formats is never changed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dycoke_cli.errors import UsageError
from dycoke_cli.evaluation.question import Question
from dycoke_cli.evaluation.record import ANSWERS, Record
from dycoke_cli.system.jsonl_output import JsonlOutput
from tests.evaluation.records import record


def kept(path: Path) -> dict[str, Record]:
    with JsonlOutput(path, ANSWERS) as output:
        return dict(output.records)


def test_records_are_read_back_equal(tmp_path: Path) -> None:
    """Each record is one line, written at once; the last line of a key counts."""
    path = tmp_path / "out.jsonl"
    with JsonlOutput(path, ANSWERS) as output:
        output.add(record("1", None))
        output.add(record("2"))
        assert len(path.read_text().splitlines()) == 2
        output.add(record("1", question="ü\u2028?"))
    assert kept(path) == {"1": record("1", question="ü\u2028?"), "2": record("2")}
    assert [json.loads(line)["key"] for line in path.read_text().split("\n")[:-1]] == ["1", "2", "1"]


def test_any_torn_last_line_is_repaired(tmp_path: Path) -> None:
    """A file cut at any byte keeps its complete lines and loses the rest; a later record is on its own line."""
    path = tmp_path / "out.jsonl"
    with JsonlOutput(path, ANSWERS) as output:
        output.add(record("1"))
        first = path.stat().st_size
        output.add(record("2"))
    whole = path.read_bytes()
    for cut in range(first, len(whole) + 1):
        path.write_bytes(whole[:cut])
        expected = {"1", "2"} if cut >= len(whole) - 1 else {"1"}
        assert set(kept(path)) == expected
        with JsonlOutput(path, ANSWERS) as output:
            output.add(record("3"))
        assert set(kept(path)) == {*expected, "3"}


@pytest.mark.parametrize(
    "content", [b"my notes", b"my notes\n", b'{"video": "a"}\n', b'{"schema": 2, "key": "1"}\n', b"[]\n", b"\xff\n"]
)
def test_files_of_others_are_left_alone(tmp_path: Path, content: bytes) -> None:
    """A question file, notes or a record of another version raises UsageError with the line, and stays unchanged."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="line 1 is no record"):
        kept(path)
    assert path.read_bytes() == content


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    """An interrupted run truncates only the last line; damage elsewhere is an error."""
    path = tmp_path / "out.jsonl"
    with JsonlOutput(path, ANSWERS) as output:
        output.add(record("1"))
        output.add(record("2"))
    path.write_bytes(path.read_bytes()[10:])
    with pytest.raises(UsageError, match="line 1"):
        kept(path)


@pytest.mark.parametrize("place", [".", "/dev/null", "no/such/folder/out.jsonl"])
def test_an_output_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    """The error is raised when the output is opened."""
    with pytest.raises(UsageError, match=r"cannot be written|is no file"):
        kept(tmp_path / place)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_full_disk_is_an_error_and_loses_no_record(tmp_path: Path) -> None:
    """A line that does not fit raises UsageError; the next run removes its beginning and keeps the other lines."""
    import resource

    path = tmp_path / "out.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with JsonlOutput(path, ANSWERS) as output:
        output.add(record("1"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, before[1]))
        try:
            with pytest.raises(UsageError, match="cannot be written: File too large"):
                output.add(record("2"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "1" in kept(path)
    with JsonlOutput(path, ANSWERS) as output:
        output.add(record("3"))
    assert {"1", "3"} <= set(kept(path))


def test_without_a_path_records_stay_in_memory() -> None:
    """A run without --output holds its records until it ends."""
    with JsonlOutput(None, ANSWERS) as output:
        output.add(record("1"))
        assert set(output.records) == {"1"}


def test_a_kept_answer_is_scored_by_the_file_as_it_is_now() -> None:
    """A stored answer is compared with the current question file."""
    question = Question("b.mp4", Path("b.mp4"), "q?", ("blue",), (), "hue")
    again = record().about(question, "dycoke:k=0.7")
    assert (again.answer, again.correct, again.expected, again.type) == ("red", False, ("blue",), "hue")
    assert (again.video, again.method, again.tokens) == ("b.mp4", "dycoke:k=0.7", record().tokens)
    assert record(correct=None).about(question, "dycoke").correct is None


def test_an_output_in_use_is_refused(tmp_path: Path) -> None:
    """A second run gets an error that names the first; after the first ends, no lock file remains."""
    path = tmp_path / "out.jsonl"
    with JsonlOutput(path, ANSWERS) as output:
        output.add(record("1"))
        with pytest.raises(UsageError, match=rf"is being written by another run: process {os.getpid()} on "):
            kept(path)
    assert set(kept(path)) == {"1"}
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_leaves_its_output_free(tmp_path: Path) -> None:
    """A killed process holds no lock, although its lock file remains."""
    path = tmp_path / "out.jsonl"
    code = (
        "import os, sys, pathlib, signal; from dycoke_cli.system.file_lock import FileLock; "
        "FileLock(pathlib.Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / ".out.jsonl.lock").exists()
    assert kept(path) == {}


def test_compacting_leaves_one_line_for_each_name(tmp_path: Path) -> None:
    """The file is replaced atomically, keeps its permissions, and accepts more lines."""
    path = tmp_path / "out.jsonl"
    with JsonlOutput(path, ANSWERS) as output:
        for key in ("1", "2", "1", "3"):
            output.add(record(key, question=f"{len(path.read_bytes())}?"))
        expected = dict(output.records)
        path.chmod(0o640)
        output.compact()
        assert len(path.read_text().splitlines()) == 3
        output.add(record("4"))
    assert kept(path) == {**expected, "4": record("4")}
    assert path.stat().st_mode & 0o777 == 0o640


def test_file_names_that_are_not_unicode_are_kept(tmp_path: Path) -> None:
    """A file name may contain any byte; its line is JSON and decodes to the same name."""
    path, name = tmp_path / "out.jsonl", os.fsdecode(b"caf\xe9 \n.mp4")
    with JsonlOutput(path, ANSWERS) as output:
        output.add(record("1", video=name))
    assert kept(path)["1"].video == name
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1
