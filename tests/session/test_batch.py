"""A batch of clips gives each row the answer, counts and records that it would get alone."""

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


def counted(answer: Answer) -> tuple[object, ...]:
    return answer.question, answer.answer, answer.finish, answer.tokens, answer.steps, answer.memory_bytes.kv


@pytest.mark.parametrize("name", EVERY)
def test_rows_are_answered_as_alone(tiny: Llava, name: str) -> None:
    """Clips and questions of different length, by every method: text, counts, sets read and bytes are the same."""
    method = make_method(name, {})
    together = BatchSession(tiny, method, SETTINGS).answers(ROWS, trace=True)
    for row, ours in zip(ROWS, together, strict=True):
        (alone,) = Session(tiny, row.video, method, SETTINGS).answers([row.question], Callbacks(), trace=True)
        assert counted(ours) == counted(alone)
        assert ours.trace is not None
        assert alone.trace is not None
        assert (ours.trace.steps, ours.trace.merged_into) == (alone.trace.steps, alone.trace.merged_into)
        for mine, single in zip(ours.trace.scores, alone.trace.scores, strict=True):
            assert mine == pytest.approx(single, abs=1e-6)


def test_sampling_and_a_budget_hold_in_a_batch(tiny: Llava) -> None:
    """Seeded draws, a repetition penalty and --retain give each row what they give it alone."""
    settings = SETTINGS.model_copy(update={"temperature": 1.5, "seed": 3, "repetition_penalty": 1.3, "retain": 0.6})
    method = make_method("dycoke", {})
    together = BatchSession(tiny, method, settings).answers(ROWS)
    for row, ours in zip(ROWS, together, strict=True):
        (alone,) = Session(tiny, row.video, method, settings).answers([row.question], Callbacks())
        assert counted(ours) == counted(alone)


def test_no_rows_no_answers(tiny: Llava) -> None:
    """An empty batch is no error."""
    assert BatchSession(tiny, make_method("full", {}), SETTINGS).answers([]) == []


@pytest.mark.parametrize("name", ["full", "dycoke", "uniform", "fastv"])
def test_the_footprint_is_what_the_buffer_takes(
    tiny: Llava, name: str, monkeypatch: pytest.MonkeyPatch, load_golden: Callable[..., Llava]
) -> None:
    """Bytes by arithmetic equal the bytes that a run allocates for keys and values."""
    made: list[int] = []
    allocate = KVBuffer.__init__

    def noted(self: KVBuffer, *args: object) -> None:
        allocate(self, *args)  # type: ignore[arg-type]
        made.append(self.nbytes)

    session = BatchSession(tiny, make_method(name, {}), SETTINGS)
    footprint = session.footprint(8, "colour?")
    monkeypatch.setattr(KVBuffer, "__init__", noted)
    session.answers([Row(clip(8), "colour?")])
    assert sum(made) == footprint.kv
    assert footprint.rows(2**40) == int(2**40 * 0.9 - (0 if footprint.stacked else footprint.shared)) // footprint.row
    assert footprint.rows(0) == 1
    assert session.rows_that_fit(8, "colour?") > session.rows_that_fit(8, "colour?", 2**20) >= 1


def test_a_batch_that_does_not_fit_says_so(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator's refusal becomes the project's error, and the session can go on with a smaller batch."""
    session = BatchSession(tiny, make_method("full", {}), SETTINGS)
    allocate = KVBuffer.empty

    def small(model: object, batch: int, *rest: object) -> KVBuffer:
        if batch > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return allocate(model, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(KVBuffer, "empty", small)
    with pytest.raises(OutOfMemoryError):
        session.answers(ROWS)
    assert len(session.answers(ROWS[:1])) == 1


@pytest.mark.parametrize("name", ["full", "dycoke", "dycoke+fastv", "evs"])
@pytest.mark.parametrize("count", [3, 8, 14])
def test_windows_are_compressed_as_they_come(
    tiny: Llava, name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, places, survivors and features are those of compressing the whole video; only windows are ever held."""
    monkeypatch.setattr("dycoke_cli.session.video.TOGETHER", 8)
    method, frames, seen = make_method(name, {}), clip(count).clip.frames.pixels, list[tuple[int, int]]()
    ours = encode_compressed(tiny, frames, method, lambda done, total: seen.append((done, total)))
    wanted = method.compress(tiny.encode(frames))
    assert ours.grid == wanted.grid
    for mine, whole in zip((ours.index, ours.survivor), (wanted.index, wanted.survivor), strict=True):
        assert torch.equal(mine, whole)
    torch.testing.assert_close(ours.features, wanted.features, atol=1e-6, rtol=0)
    assert seen[-1] == (count, count)
    assert seen == sorted(seen)
