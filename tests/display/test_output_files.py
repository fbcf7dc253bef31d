"""A command refuses an output file that cannot be written, or would overwrite an input, before its work."""

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dycoke_cli.cli.app import run
from dycoke_cli.display.output_files import check_outputs, check_writable, write_file
from dycoke_cli.errors import UsageError

ROOT = Path(__file__).parents[2]
CUBE = ROOT / "sample_videos" / "cube.mp4"
QUESTIONS = ROOT / "dycoke_cli" / "demo" / "clips" / "questions.yaml"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with one video; the user's configuration is not used."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(CUBE, "v.mp4")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/such/r.html", "its folder does not exist"),
        ("v.mp4/r.html", "its folder does not exist"),
        (".", "it is a folder"),
        ("", "it is a folder"),
        ("protected", "it is write-protected"),
        ("x" * 300, "cannot be written"),
        ("nul\0", "not a possible name"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_with_the_reason(name: str, message: str) -> None:
    """Missing folders, folders, protected files and impossible names raise UsageError."""
    Path("protected").write_text("mine")
    Path("protected").chmod(0o444)
    with pytest.raises(UsageError, match=message):
        check_writable(Path(name))
    assert Path("protected").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_device_is_never_replaced() -> None:
    """An atomic write would replace a pipe or a device with a file."""
    os.mkfifo("pipe")
    for path in (Path("pipe"), Path(os.devnull)):
        with pytest.raises(UsageError, match="no ordinary file"):
            check_writable(path)


def test_the_check_creates_no_file(folder: Path) -> None:
    """The folder is unchanged; a file that passes the check can be written, and replaced."""
    before = sorted(folder.iterdir())
    check_writable(folder / "r.html")
    assert sorted(folder.iterdir()) == before
    for text in ("one", "two"):
        check_writable(folder / "r.html")
        write_file(folder / "r.html", text)
    assert (folder / "r.html").read_text() == "two"


def test_a_read_only_file_system_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check creates a temporary file, because permissions do not show a read-only file system."""

    def refused(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("dycoke_cli.display.output_files.tempfile", SimpleNamespace(TemporaryFile=refused))
    with pytest.raises(UsageError, match="Read-only file system"):
        check_writable(Path("r.html"))


def test_one_file_for_two_outputs_is_refused(folder: Path) -> None:
    """Two paths to the same file are refused, because the second output would replace the first."""
    Path("x").mkdir()
    with pytest.raises(UsageError, match="--trace and --report both name"):
        check_outputs({"--trace": "r.html", "--report": folder / "x" / ".." / "r.html"})
    check_outputs({"--trace": "t.json", "--report": "r.html", "--csv": None})


def test_an_input_is_no_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused are the video, a hard link to it, a picture of the input folder, and the file on standard input."""
    os.link("v.mp4", "same.mp4")
    Path("pictures").mkdir()
    Path("pictures", "1.png").write_bytes(b"a picture")
    for output, given in (("v.mp4", "v.mp4"), ("same.mp4", str(folder / "v.mp4")), ("pictures/1.png", "pictures")):
        with pytest.raises(UsageError, match=r"--report names .*, which is read"):
            check_outputs({"--report": output}, [given, None])
    check_outputs({"--report": "pictures/r.html"}, ["pictures", "absent.yaml"])
    with open("v.mp4", "rb") as file:
        facts = os.fstat(file.fileno())
        monkeypatch.setattr("dycoke_cli.display.output_files.os.fstat", lambda number: facts)
        with pytest.raises(UsageError, match="which is read"):
            check_outputs({"--report": "v.mp4"}, ["-"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "v.mp4", "q", "--trace", "X"],
        ["ask", "v.mp4", "q", "--report", "X"],
        ["compare", "v.mp4", "q", "--csv", "X"],
        ["compare", "v.mp4", "q", "--report", "X"],
        ["bench", "--video", "v.mp4", "--output", "X"],
        ["caption", ".", "--output", "X"],
        ["caption", ".", "--shard", "1/2", "--output", "X"],
        ["eval", str(QUESTIONS), "--output", "X"],
    ],
    ids=lambda value: f"{value[0]} {value[-2]}",
)
def test_every_command_checks_its_files_first(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check runs before a model is located, which may be a download; the video is unchanged."""
    monkeypatch.setattr("dycoke_cli.models.checkpoints.locate", lambda name: pytest.fail("a model was looked for"))
    for name in ("no/such/file", "v.mp4"):
        if name == "v.mp4" and arguments[0] in ("caption", "eval"):
            continue  # these append only to an output of the same command, which they check by its lines
        assert run([name if word == "X" else word for word in arguments]) == 2
        err = capsys.readouterr().err
        assert "cannot be written" in err or "which is read" in err
    assert Path("v.mp4").read_bytes() == CUBE.read_bytes()
    assert sorted(os.listdir()) == ["v.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_videos_with_the_same_sidecar_are_refused_before_a_model_is_located(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two videos whose names differ only in the suffix would have the same sidecar."""
    monkeypatch.setattr("dycoke_cli.models.checkpoints.locate", lambda name: pytest.fail("a model was looked for"))
    shutil.copy(CUBE, "v.mkv")
    assert run(["caption", ".", "--sidecar"]) == 2
    assert "would share the text" in capsys.readouterr().err
