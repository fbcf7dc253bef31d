"""The benchmark of decoding reads and resizes as `ask` does."""

from pathlib import Path

import pytest

from benchmarks.decoding import ours
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.video import bundled_clips


def test_every_frame_is_resized(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of four, in time order."""
    resized: list[int] = []
    monkeypatch.setattr(Llava, "pixels", lambda self, frames: resized.append(len(frames)))
    ours(Path(bundled_clips.VIDEO), tiny, 10, "auto")
    assert resized == [4, 4, 2]
