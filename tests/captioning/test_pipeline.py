"""Batches: full, last, too large for memory, and with one video that fails."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dycoke_cli.captioning.item import Identity
from dycoke_cli.captioning.pipeline import CaptionPipeline
from dycoke_cli.captioning.prefetch import DecodedVideo
from dycoke_cli.captioning.record import Record
from dycoke_cli.errors import OutOfMemoryError, UsageError, VideoError
from dycoke_cli.video.frames import Frames, VideoInfo
from tests.captioning.made import items_in, job


class Ahead:
    """A prefetch whose videos arrive at once; names that begin with x cannot be read."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.items, self.room = items_in(folder, *names), 1

    def take(self, timeout_s: float) -> DecodedVideo:
        item = self.items.pop(0)
        if item.id.startswith("x"):
            return DecodedVideo(item, Identity(), VideoError("it is torn", reason="no_frames"))
        info = VideoInfo(item.path, 1.0, 2.0, 2, 4, 4, "pyav", "a test")
        frames = Frames(np.zeros((2, 4, 4, 3), np.uint8), (0, 1), (0.0, 0.5), info)
        return DecodedVideo(item, Identity.of(item.path), frames, 0.1)

    @property
    def left(self) -> int:
        return len(self.items)


class Model:
    """A captioner that answers with the name of each video.

    `fits` of them run together; names that begin with ! raise UsageError, those with ? RuntimeError.
    """

    def __init__(self, fits: int = 99) -> None:
        self.fits, self.batches, self.recovered = fits, [], 0

    def answers(self, batch: Sequence[DecodedVideo]) -> list[Any]:
        names = [decoded.item.id for decoded in batch]
        if len(batch) > self.fits:
            raise OutOfMemoryError("the device ran out of memory")
        if any(name.startswith("!") for name in names):
            raise UsageError("cannot retain that", "")
        if any(name.startswith("?") for name in names):
            raise RuntimeError("a bug\nof somebody")
        self.batches.append(names)
        return [(self._answer(name),) for name in names]

    def _answer(self, name: str) -> Any:
        times = SimpleNamespace(vision=1.0, prefill=2.0, decode=3.0)
        tokens = SimpleNamespace(visual=100, visual_prefill=48, generated=5)
        return SimpleNamespace(question="?", answer=name, finish="stop", tokens=tokens, time_s=times)

    def rows_that_fit(self, frames: int) -> int:
        return 3

    def recover(self) -> None:
        self.recovered += 1


def run_pipeline(folder: Path, names: Sequence[str], model: Model, batch: int | None) -> list[Record]:
    pipeline = CaptionPipeline(job(batch), model, Ahead(folder, names))  # type: ignore[arg-type]
    records = []
    while pipeline.ahead.left:
        records += pipeline.next_records()
    return [*records, *pipeline.finish()]


@pytest.mark.parametrize(("batch", "expected"), [(2, ["ab", "cd", "e"]), (9, ["abcde"]), (None, ["abc", "de"])])
def test_batches_fill(tmp_path: Path, batch: int | None, expected: list[str]) -> None:
    """As many videos as asked for, or as fit; the rest at the end. Videos that cannot be read take no place."""
    model = Model()
    records = run_pipeline(tmp_path, ["a", "b", "x1", "c", "d", "x2", "e"], model, batch)
    assert ["".join(names) for names in model.batches] == expected
    assert {record.id: record.caption for record in records} == {**{n: n for n in "abcde"}, "x1": None, "x2": None}
    assert [record.reason for record in records if record.error] == ["no_frames", "no_frames"]
    assert sum(1 / record.batch for record in records if record.batch) == pytest.approx(len(expected))


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path) -> None:
    """No video fails for lack of memory, and later batches have the smaller size from the start."""
    model = Model(fits=2)
    records = run_pipeline(tmp_path, list("abcdefghij"), model, 8)
    assert [len(names) for names in model.batches] == [2] * 5
    assert sorted(record.id for record in records) == list("abcdefghij")
    assert all(record.error is None for record in records)
    assert model.recovered == 3  # once for eight, twice for four; those after it were two from the start


def test_a_video_that_never_fits_is_an_error_of_its_own(tmp_path: Path) -> None:
    """Its record has the reason out_of_memory."""
    (record,) = run_pipeline(tmp_path, ["a"], Model(fits=0), 4)
    assert (record.reason, record.error) == ("out_of_memory", "the device ran out of memory")


def test_a_failing_video_does_not_affect_the_others(tmp_path: Path) -> None:
    """A budget that one video cannot meet, or a library's error, fails that video alone, with a message of one line."""
    model = Model()
    records = run_pipeline(tmp_path, ["a", "!b", "c", "?d"], model, 4)
    assert {record.id: (record.caption, record.error) for record in records} == {
        "a": ("a", None),
        "!b": (None, "cannot retain that"),
        "c": ("c", None),
        "?d": (None, "RuntimeError: a bug"),
    }
