"""Decoder processes that the tests of a module share, and a cache folder for each test."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dycoke_cli.video.reader import VideoReader


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, VideoReader]]:
    """One reader per decoder, with a process that all tests share: starting one takes a second."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(VideoReader(name)) for name in ("auto", "pyav")}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache folder of one test."""
    path = tmp_path / "encoded"
    path.mkdir()
    monkeypatch.setattr("dycoke_cli.cache.store.cache_folder", lambda: path)
    return path
