"""Copies of golden checkpoints that a test may damage."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import GOLDEN


def copied(name: str, folder: Path) -> Path:
    shutil.copytree(GOLDEN / "checkpoints" / name, folder)
    return folder


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A copy of a checkpoint in one file."""
    return copied("tiny-ov-tied", tmp_path / "model")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A copy of a checkpoint in two shards."""
    return copied("tiny-video", tmp_path / "model")
