"""Paths as users write them (~, file://, sample:, patterns, addresses) are resolved or explained."""

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dycoke_cli.cli.app import run
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import DyCokeError, InputError, VideoError
from dycoke_cli.evaluation.question_file import read_questions
from dycoke_cli.session.ask import ask
from dycoke_cli.video.path import local_path, readable_path, video_path

CUBE = Path(__file__).parents[2] / "sample_videos" / "cube.mp4"
QUICK = ["-m", "demo", "-n", "2", "--max-new-tokens", "2"]


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home folder with one video, which is also the working folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names").mkdir()
    shutil.copy(CUBE, tmp_path / "names" / "a b.mp4")
    return tmp_path


def test_what_means_a_file_of_this_machine_is_its_path(home: Path) -> None:
    """~ and file:// with or without a host, with escapes, are resolved; any other path is unchanged."""
    file = home / "names" / "a b.mp4"
    for written in ("~/names/a b.mp4", file.as_uri(), file.as_uri().replace("file://", "file://localhost"),
                    file.as_uri().replace("file://", "FILE:")):  # fmt: skip
        for resolved in (video_path, local_path, readable_path):
            assert Path(resolved(written)) == file
    for written in ("-", "names/a b.mp4", "none.mp4", "~nobody-of-that-name/x.mp4", "file:x.mp4", "none*.mp4", ""):
        assert video_path(written) == written
    assert video_path(Path("x.mp4")) == "x.mp4"
    assert video_path("x.mp4", "folder") == os.path.join("folder", "x.mp4")
    assert video_path("~/x.mp4", "folder") == str(home / "x.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such names")
@pytest.mark.parametrize("name", ["*.mp4", "~", "[a].mp4", "file:", "https:"])
def test_a_file_that_is_really_called_so_wins(name: str) -> None:
    """An existing file takes precedence over a pattern, ~ or an address."""
    shutil.copy(CUBE, name)
    shutil.copy(CUBE, "another.mp4")
    assert video_path(name) == local_path(name) == readable_path(name) == name


def _refused(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(DyCokeError) as refused:
        call()
    assert refused.value.exit_code == 3
    return refused.value.message, refused.value.remedy


def test_a_pattern_in_quotes_is_called_a_pattern(home: Path) -> None:
    """The message contains a matching file, the remedy the command for a whole folder."""
    message, remedy = _refused(lambda: video_path("names/*.mp4"))
    assert message == f"'names/*.mp4' is a pattern; it fits one file, {os.path.join('names', 'a b.mp4')!r}."
    assert remedy.endswith("dycoke caption names")
    shutil.copy(CUBE, "b.mp4")
    shutil.copy(CUBE, "c.mp4")
    assert "fits 2 files, such as" in _refused(lambda: video_path("~/?.mp4"))[0]


def test_an_address_of_the_web_has_to_be_fetched() -> None:
    """The remedy contains the commands to pipe and to save it, quoted for a shell."""
    message, remedy = _refused(lambda: video_path("https://example.org/v.mp4?a=1&b=2"))
    assert "is no file on this machine" in message
    assert "curl -sL 'https://example.org/v.mp4?a=1&b=2' | dycoke ask - " in remedy
    assert "curl -sLo video.mp4 'https://example.org/v.mp4?a=1&b=2'" in remedy
    assert "Save it" in _refused(lambda: video_path("s3://bucket/v.mp4"))[1]
    assert "curl -sLO https://example.org/q.jsonl" in _refused(lambda: local_path("https://example.org/q.jsonl"))[1]
    with pytest.raises(InputError, match="another machine, 'server'"):
        video_path("file://server/share/v.mp4")


def test_a_folder_of_videos_is_for_caption(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a folder of the wrong kind, `ask` names `caption` and `caption` names `ask`."""
    message, remedy = _refused(lambda: readable_path("names"))
    assert message == "'names' is a folder with one video and without pictures."
    assert remedy.endswith("caption all: dycoke caption names")
    (home / "none").mkdir()
    (home / "pictures").mkdir()
    (home / "pictures" / "1.png").touch()
    assert run(["caption", "pictures"]) == 3
    assert "dycoke ask pictures QUESTION" in capsys.readouterr().err
    assert "caption" not in _refused(lambda: readable_path("none"))[1]


def test_every_command_takes_what_means_a_file(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are resolved in arguments, in question files and in Python calls."""
    address = (home / "names" / "a b.mp4").as_uri()
    Path("q.jsonl").write_text(f'{{"video": "{address}", "question": "what?", "answer": "x"}}', encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("what?\n"))
    for arguments in (["ask", address, "q"], ["chat", address],
                      ["caption", (home / "names").as_uri()], ["eval", "~/q.jsonl"]):  # fmt: skip
        code = run([*arguments, *QUICK])
        assert code == 0, (arguments, capsys.readouterr().err)
    assert (home / "names" / "captions.jsonl").exists()
    outcome = ask("~/names/a b.mp4", ["q"], Settings(model="demo", frames=2, max_new_tokens=1))
    assert Path(outcome.frames.info.path) == home / "names" / "a b.mp4"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "X", "q"],
        ["chat", "X"],
        ["compare", "X", "q"],
        ["caption", "X"],
        ["bench", "--video", "X"],
        ["eval", "X"],
    ],
    ids=lambda value: value[0],
)
def test_every_command_says_what_an_address_needs(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The error is raised before a model is located, which could start a download."""
    code = run([word.replace("X", "https://example.org/v.mp4") for word in arguments])
    err = capsys.readouterr().err
    assert (code, "curl -sL" in err) == (3, True)


def test_a_question_file_says_where_its_address_stands() -> None:
    """The error names the file and line."""
    Path("q.jsonl").write_text('{"video": "https://x.org/v.mp4", "question": "q", "answer": "a"}', encoding="utf-8")
    with pytest.raises(DyCokeError, match=r"'q\.jsonl', line 1: 'https://x\.org/v\.mp4' is no file on this machine$"):
        read_questions(Path("q.jsonl"))


def test_a_missing_video_is_told_before_a_model_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt file name must not start a download of gigabytes."""
    monkeypatch.setattr("dycoke_cli.models.checkpoints.locate", lambda name: pytest.fail("a model was looked for"))
    with pytest.raises(VideoError, match="does not exist"):
        ask("none.mp4", ["q"], Settings(model="llava-ov-0.5b"))
