"""Batched answers: each row returns the answer, counts and records of a single session."""

from collections.abc import Callable

import pytest
import torch

from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.errors import OutOfMemoryError
from dycoke_cli.methods.options import make_method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.batch import BatchSession, Row
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import encode_compressed
from dycoke_cli.system.callbacks import Callbacks
from tests.engine.test_every_method import EVERY
from tests.session.test_session import clip

SETTINGS = Settings(max_new_tokens=6)
ROWS = [
    Row(clip(5), "What happens?"),
    Row(clip(12), "colour?"),
    Row(clip(8), "Please describe this video in detail, from the first to last."),
]


def without_times(answer: Answer) -> tuple[object, ...]:
    """Return the fields of an answer that do not depend on time."""
    return answer.question, answer.answer, answer.finish, answer.tokens, answer.steps, answer.memory_bytes.kv


@pytest.mark.parametrize("name", EVERY)
def test_batched_answers_equal_single_answers(tiny: Llava, name: str) -> None:
    """With every method, rows of different length return the text, counts, tokens read and KV bytes of a single run."""
    method = make_method(name, {})
    together = BatchSession(tiny, method, SETTINGS).answers(ROWS, trace=True)
    for row, ours in zip(ROWS, together, strict=True):
        (alone,) = Session(tiny, row.video, method, SETTINGS).answers([row.question], Callbacks(), trace=True)
        assert without_times(ours) == without_times(alone)
        assert ours.trace is not None
        assert alone.trace is not None
        assert (ours.trace.steps, ours.trace.merged_into) == (alone.trace.steps, alone.trace.merged_into)
        for mine, single in zip(ours.trace.scores, alone.trace.scores, strict=True):
            assert mine == pytest.approx(single, abs=1e-6)


def test_batched_sampling_and_retain_equal_single_runs(tiny: Llava) -> None:
    """With a seed, a repetition penalty and --retain, each row returns the answer of a single run."""
    settings = SETTINGS.model_copy(update={"temperature": 1.5, "seed": 3, "repetition_penalty": 1.3, "retain": 0.6})
    method = make_method("dycoke", {})
    together = BatchSession(tiny, method, settings).answers(ROWS)
    for row, ours in zip(ROWS, together, strict=True):
        (alone,) = Session(tiny, row.video, method, settings).answers([row.question], Callbacks())
        assert without_times(ours) == without_times(alone)


def test_empty_batch_returns_no_answers(tiny: Llava) -> None:
    """An empty batch returns no answers and raises no error."""
    assert BatchSession(tiny, make_method("full", {}), SETTINGS).answers([]) == []


@pytest.mark.parametrize("name", ["full", "dycoke", "uniform", "fastv"])
def test_footprint_equals_allocated_bytes(
    tiny: Llava, name: str, monkeypatch: pytest.MonkeyPatch, load_golden: Callable[..., Llava]
) -> None:
    """The computed footprint equals the bytes that a run allocates for keys and values."""
    allocated: list[int] = []
    allocate = KVBuffer.__init__

    def recording_init(self: KVBuffer, *args: object) -> None:
        allocate(self, *args)  # type: ignore[arg-type]
        allocated.append(self.nbytes)

    session = BatchSession(tiny, make_method(name, {}), SETTINGS)
    footprint = session.footprint(8, "colour?")
    monkeypatch.setattr(KVBuffer, "__init__", recording_init)
    session.answers([Row(clip(8), "colour?")])
    assert sum(allocated) == footprint.kv
    assert footprint.rows(2**40) == int(2**40 * 0.9 - (0 if footprint.stacked else footprint.shared)) // footprint.row
    assert footprint.rows(0) == 1
    assert session.rows_that_fit(8, "colour?") > session.rows_that_fit(8, "colour?", 2**20) >= 1


def test_batch_out_of_memory_raises_and_session_continues(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator's error becomes OutOfMemoryError, and the session can answer a smaller batch afterwards."""
    session = BatchSession(tiny, make_method("full", {}), SETTINGS)
    allocate = KVBuffer.empty

    def limited_empty(model: object, batch: int, *rest: object) -> KVBuffer:
        if batch > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return allocate(model, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(KVBuffer, "empty", limited_empty)
    with pytest.raises(OutOfMemoryError):
        session.answers(ROWS)
    assert len(session.answers(ROWS[:1])) == 1


@pytest.mark.parametrize("name", ["full", "dycoke", "dycoke+fastv", "evs"])
@pytest.mark.parametrize("count", [3, 8, 14])
def test_windowed_compression_equals_whole_video(
    tiny: Llava, name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compression by windows returns the grid, indices, survivors and features of compressing the whole video."""
    monkeypatch.setattr("dycoke_cli.session.video.TOGETHER", 8)
    method, frames, progress = make_method(name, {}), clip(count).clip.frames.pixels, list[tuple[int, int]]()
    ours = encode_compressed(tiny, frames, method, lambda done, total: progress.append((done, total)))
    expected = method.compress(tiny.encode(frames))
    assert ours.grid == expected.grid
    for mine, whole in zip((ours.index, ours.survivor), (expected.index, expected.survivor), strict=True):
        assert torch.equal(mine, whole)
    torch.testing.assert_close(ours.features, expected.features, atol=1e-6, rtol=0)
    assert progress[-1] == (count, count)
    assert progress == sorted(progress)
