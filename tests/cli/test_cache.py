"""`dycoke cache`, --cache and --no-cache."""

import io
import json
import sys
from pathlib import Path

import pytest

from dycoke_cli.cli.app import run

CUBE = str(Path(__file__).parents[2] / "sample_videos" / "cube.mp4")
FLAGS = ["-m", "demo", "-n", "2", "--max-new-tokens", "1"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder for one test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "encoded"
    path.mkdir()
    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", lambda: path)
    return path


def test_ask_stores_chat_reuses_clear_removes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chat` reuses the entry of `ask`; panel and record report it; info lists it, clear removes it."""
    assert run(["ask", CUBE, "q", *FLAGS, "--json", "-q", "--no-cache"]) == 0
    assert run(["ask", CUBE, "q", *FLAGS, "--json", "-q"]) == 0
    assert run(["ask", CUBE, "q", *FLAGS, "--json", "--stats"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["features"] for line in out.splitlines()] == ["computed", "computed", "cache"]
    assert "came from the cache" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("q\n"))
    monkeypatch.setattr("dycoke_cli.video.reader.VideoReader.submit", lambda *_: pytest.fail("decoded"))
    assert run(["chat", CUBE, *FLAGS, "-q"]) == 0
    capsys.readouterr()
    assert run(["cache", "info", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["folder"], record["enabled"], len(record["videos"])) == (str(folder), True, 1)
    assert record["videos"][0].items() >= {"path": CUBE, "model": "demo", "frames": 2}.items()
    assert 0 < record["bytes"] == record["videos"][0]["bytes"] < record["limit_bytes"] == 10**10
    assert run(["cache", "info"]) == 0
    assert "1 encoded videos" in capsys.readouterr().out
    assert run(["cache", "clear"]) == 0
    assert "1 encoded videos removed" in capsys.readouterr().out
    assert list(folder.iterdir()) == []
