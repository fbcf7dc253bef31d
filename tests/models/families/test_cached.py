"""A cached encoded video equals the vision tower's output, in every family."""

from pathlib import Path

import pytest
import torch

from dycoke_cli.cache.entry import Entry
from dycoke_cli.config.settings import Settings
from dycoke_cli.models.families.family import Family
from dycoke_cli.session import pipeline
from dycoke_cli.session.ask import ask
from dycoke_cli.video.reader import VideoReader
from tests.models.families.test_whole_runs import CUBE


def test_second_run_reads_the_cache(
    family: Family, folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run returns the same answer, steps and counts without decoding and encoding; features are bit-equal."""
    settings = Settings(model=folders[family.family], frames=7, max_new_tokens=4)
    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", lambda: tmp_path)
    monkeypatch.setattr(pipeline, "load_model", lambda *_: family)
    first = ask(CUBE, ["what happens?"], settings)
    (path,) = tmp_path.glob("*.safetensors")
    entry = Entry.at(path)
    assert entry is not None
    assert (entry.frames, entry.size) == (7, (480, 854))
    cached = entry.load("", lambda: pytest.fail("pixels were decoded"))
    assert cached is not None
    expected = family.encode(first.frames.pixels[:])
    assert cached[0].grid == expected.grid
    assert torch.equal(cached[0].features, expected.features)
    if expected.deepstack is None:
        assert cached[0].deepstack is None
    else:
        assert cached[0].deepstack is not None
        assert torch.equal(cached[0].deepstack, expected.deepstack)
    with monkeypatch.context() as patched:
        patched.setattr(VideoReader, "submit", lambda *_, **__: pytest.fail("decoded"))
        patched.setattr(type(family), "encode", lambda *_, **__: pytest.fail("encoded"))
        second = ask(CUBE, ["what happens?"], settings)
    assert (first.features, second.features) == ("computed", "cache")
    ours, theirs = second.answers[0], first.answers[0]
    assert (ours.answer, ours.steps, ours.tokens) == (theirs.answer, theirs.steps, theirs.tokens)
