"""Every command that runs a model refuses prompts beyond its context, before anything is encoded."""

import io
import json
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest

from dycoke_cli.cli.app import run
from dycoke_cli.config.settings import Settings
from dycoke_cli.models import checkpoints
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.session.load import load_model
from tests.video.made import write

SAMPLES = Path(__file__).parents[2] / "sample_videos"
CUBE = str(SAMPLES / "cube.mp4")
QUESTION = "what colour is the cube?"
FULL = ["-M", "full"]
QUICK = ["-m", "demo", "--max-new-tokens", "3"]
REFUSED = "needs 604 positions for 16 frames and the question, and the model's context has 400"


@cache
def demo() -> Llava:
    return load_model(checkpoints.locate("demo"), Settings())


@pytest.fixture(autouse=True)
def short_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The demo model with a context of 400 positions: 10 frames of 36 tokens and a question. Isolate from settings."""
    monkeypatch.setattr(LanguageModel, "context", property(lambda _: 400))
    monkeypatch.setattr("dycoke_cli.session.pipeline.load_model", lambda checkpoint, settings, *_: demo())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every call of the vision tower fail."""

    def encode(*_: object, **__: object) -> None:
        raise AssertionError("something was encoded")

    monkeypatch.setattr(Llava, "encode", encode)


def dycoke(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run([*arguments, *QUICK])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.usefixtures("no_encoding")
@pytest.mark.parametrize(
    ("flags", "message", "remedy"),
    [
        (FULL, f"method full {REFUSED}", "Would fit: --frames 10, or --method dycoke --retain 0.65"),
        ([*FULL, "--json"], f"method full {REFUSED}", "Would fit: --frames 10, or --method dycoke --retain 0.65"),
        (["--baseline"], f"the uncompressed run {REFUSED}", "Would fit: --frames 10, or no --baseline"),
        ([*FULL, "--fps", "4"], f"method full {REFUSED}", "Would fit: --max-frames 10"),
        (["--retain", "0.9"], "method dycoke needs 544 positions", "Would fit: --frames 11, or --retain 0.65"),
        (["describe the video. " * 20], "method dycoke needs", "Would fit: --frames"),
    ],
    ids=["full", "json", "baseline", "fps", "retain", "long question"],
)
def test_ask(capsys: pytest.CaptureFixture[str], flags: list[str], message: str, remedy: str) -> None:
    """The message has the needed and the available positions, the remedy has values that fit; exit code 2."""
    code, out, err = dycoke(capsys, "ask", CUBE, QUESTION, *flags)
    assert (code, out) == (2, "")
    first, second = err.splitlines()[-2:]
    assert message in first
    assert second.strip().startswith(remedy)


def test_the_cache_does_not_change_a_refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A refused video has no cache entry, and a video with an entry is refused all the same."""
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", lambda: folder)
    refusal = dycoke(capsys, "ask", CUBE, QUESTION, *FULL)
    assert refusal[0] == 2
    assert not any(path.is_file() and path.suffix == ".safetensors" for path in folder.rglob("*"))
    code, out, err = dycoke(capsys, "ask", CUBE, QUESTION)  # method dycoke fits
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert dycoke(capsys, "ask", CUBE, QUESTION, *FULL) == refusal


@pytest.mark.usefixtures("no_encoding")
@pytest.mark.parametrize("flags", [FULL, ["--baseline"], ["-M", "dycoke", "-M", "full"]], ids=" ".join)
def test_compare(capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    """No arm runs if one of them does not fit."""
    code, out, err = dycoke(capsys, "compare", CUBE, QUESTION, *flags)
    assert (code, out) == (2, "")
    assert REFUSED in err
    assert ("or no --baseline" in err) == ("--baseline" in flags)


def test_eval(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The arm that does not fit has failures with this reason, the other arm has answers; exit code 6."""
    items = [{"video": CUBE, "question": QUESTION, "answer": "red"}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    code, out, err = dycoke(capsys, "eval", "q.jsonl", "-M", "dycoke", "-M", "full", "--json", "-n", "16")
    assert code == 6
    assert "1 of 2 answers are missing: 1 video failed" in err
    found = json.loads(out)
    assert [(row["method"], row["n"], row["unanswered"]) for row in found["overall"]] == [
        ("dycoke", 1, 0), ("full", 0, 1),
    ]  # fmt: skip
    (failure,) = found["unanswered"]
    assert failure["error"] == (
        f"{CUBE}: method full {REFUSED}. Would fit: --frames 10, or --method dycoke --retain 0.65"
    )


@pytest.mark.parametrize("batch", ["1", "2"])
def test_caption(capsys: pytest.CaptureFixture[str], tmp_path: Path, batch: str) -> None:
    """A video that does not fit has the reason `context`, and the next video is captioned."""
    shutil.copy(CUBE, tmp_path / "long.mp4")
    write(tmp_path / "short.mp4", count=4, size=(64, 48))
    code, _, err = dycoke(capsys, "caption", str(tmp_path), *FULL, "--batch-size", batch)
    assert code == 6
    assert "1 of 2 videos have no caption" in err
    records = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    found = {record["id"]: record for record in records}
    assert (found["short.mp4"]["error"], found["short.mp4"]["frames"]) == (None, 4)
    assert found["short.mp4"]["caption"]
    assert (found["long.mp4"]["caption"], found["long.mp4"]["reason"]) == (None, "context")
    assert "and the model's context has 400. Would fit: --frames 10" in found["long.mp4"]["error"]


def test_chat(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that does not fit is refused with values that fit; earlier answers stay on stdout."""
    lines = [QUESTION, "/method full", "not asked"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    code, out, err = dycoke(capsys, "chat", CUBE)
    assert (code, out.count("\n")) == (2, 1)
    assert "for 16 frames and the question, and the model's context has 400" in err
    assert "Would fit: --frames 10, or --method dycoke --retain 0.65" in err
    code, out, err = dycoke(capsys, "chat", CUBE, *FULL)
    assert (code, out) == (2, "")
    assert "Would fit: --frames 10" in err
