"""Sessions: counts, step records, traces and times are consistent; shared work does not change answers."""

import numpy as np
import pytest
import torch

from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import OutOfMemoryError, UsageError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import out_of_memory_explained
from dycoke_cli.video.clip import Clip
from dycoke_cli.video.frames import Frames, VideoInfo
from tests.conftest import clip_frames, golden_model

QUESTIONS = ["What happens?", "What happens in the end?", "colour?"]
SETTINGS = Settings(max_new_tokens=10)


def clip(count: int = 8) -> Video:
    info = VideoInfo("clip", 16.0, 1.0, 16, 120, 90, "pyav", "test")
    numbers = tuple(range(count))
    frames = Frames(np.asarray(clip_frames()[:count]), numbers, tuple(map(float, numbers)), info)
    return Video.of(frames, decode_s=0.25)


def answers(model: Llava, method: Method, questions: list[str], trace: bool = False) -> list[Answer]:
    return list(Session(model, clip(), method, SETTINGS).answers(questions, Callbacks(), trace))


SHARING = [
    Full(),
    Dycoke(),
    Dycoke(positions="original"),
    make_method("fastv", {"l": "2"}),
    make_method("visionzip+dynamic", {}),
    make_method("kmeans+fastv+dynamic", {"fastv.l": "2"}),
]


@pytest.mark.parametrize("method", SHARING, ids=repr)
def test_several_questions_equal_single_questions(tiny: Llava, method: Method) -> None:
    """Questions that share decoding, encoding and prefill return the answers, counts and steps of single questions."""
    together = answers(tiny, method, QUESTIONS)
    for ours, question in zip(together, QUESTIONS, strict=True):
        (alone,) = answers(tiny, method, [question])
        assert (ours.answer, ours.finish, ours.tokens, ours.steps) == (
            alone.answer, alone.finish, alone.tokens, alone.steps
        )  # fmt: skip
        assert ours.memory_bytes.kv == alone.memory_bytes.kv
    assert together[0].time_s.vision > 0
    assert together[0].time_s.decode_video == 0.25
    assert [answer.time_s.vision for answer in together[1:]] == [0, 0]


def test_methods_share_one_encoding(tiny: Llava) -> None:
    """Visual tokens encoded by one session give another method the same answers, with zero vision and decoding time."""
    encoded = Session(tiny, clip(), Full(), SETTINGS).encode(Callbacks())
    for method in (Dycoke(), Full()):
        alone = answers(tiny, method, QUESTIONS)
        given = list(Session(tiny, clip(), method, SETTINGS).answers(QUESTIONS, Callbacks(), encoded=encoded))
        for ours, theirs in zip(given, alone, strict=True):
            assert (ours.answer, ours.tokens, ours.steps) == (theirs.answer, theirs.tokens, theirs.steps)
        assert (given[0].time_s.vision, given[0].time_s.decode_video) == (0, 0)
        assert given[0].time_s.first_token == given[0].time_s.prefill > 0


def test_equal_questions_return_equal_answers(tiny: Llava) -> None:
    """Equal questions return equal answers: each prefills at least one token after the shared prefix."""
    first, second = answers(tiny, Dycoke(), ["What?", "What?"])
    assert (first.answer, first.steps) == (second.answer, second.steps)


def test_counts_and_steps_of_dycoke(tiny: Llava) -> None:
    """Of 8 frames of 9 tokens, K=0.7 keeps two whole frames and three tokens of six; each step then reads 30 %."""
    (answer,) = answers(tiny, Dycoke(gate=2.0), ["What happens?"])
    tokens = answer.tokens
    assert (tokens.visual, tokens.visual_prefill, tokens.newline) == (72, 36, 1)
    assert tokens.prompt_uncompressed == 72 + 1 + tokens.text
    assert tokens.generated == len(answer.steps) == 10
    assert tokens.prefill_retention == 0.5
    assert answer.finish == "length"
    first, *later = answer.steps
    assert (first.step, first.read, first.retained, first.recalled, first.reselected) == (0, 36, 0.5, 0, False)
    assert {step.read for step in later} == {11}
    assert {step.retained for step in later} == {round(11 / 72, 6)}
    assert later[0].recalled == 0
    assert all(step.reselected for step in later)
    per_token = tiny.language_model.kv_bytes_per_token
    assert answer.memory_bytes.kv == (36 + 1 + tokens.text + 9) * per_token
    assert answer.memory_bytes.kv_uncompressed == (tokens.prompt_uncompressed + 9) * per_token


def test_counts_and_steps_of_fastv(tiny: Llava) -> None:
    """Two of eight layers hold all 72 tokens, six hold 18, 31.5 on average; the KV bytes match."""
    method = make_method("fastv", {"l": "2", "keep": "0.25"})
    (answer,) = list(Session(tiny, clip(), method, SETTINGS).answers(["What happens?"], Callbacks(), trace=True))
    tokens = answer.tokens
    assert (tokens.visual, tokens.visual_prefill, tokens.prefill_retention) == (72, 72, 31.5 / 72)
    assert {(step.read, step.retained, step.recalled) for step in answer.steps} == {(18, 0.25, 0)}
    per_layer = tiny.language_model.kv_bytes_per_token // 8
    others = 1 + tokens.text + 9
    assert answer.memory_bytes.kv == per_layer * (2 * (72 + others) + 6 * (18 + others))
    assert answer.trace is not None
    assert answer.trace.prefill == list(range(72))
    assert len(answer.trace.steps[0]) == 18
    assert all(read == answer.trace.steps[0] for read in answer.trace.steps)


def test_trace_of_three_chained_methods(tiny: Llava) -> None:
    """Half of the tokens are prefilled, half of those remain after layer 2, the best 30 % of those are read."""
    method = make_method("random+fastv+dynamic", {"retain": "0.5", "fastv.l": "2", "keep": "0.5", "gate": "2"})
    (answer,) = list(Session(tiny, clip(), method, SETTINGS).answers(["What happens?"], Callbacks(), trace=True))
    trace = answer.trace
    assert trace is not None
    assert answer.tokens.prefill_retention == (2 * 36 + 6 * 18) / 8 / 72
    assert [len(trace.prefill), *map(len, trace.steps)] == [36, 18, *[5] * (len(answer.steps) - 1)]
    remaining = set(trace.steps[0])
    assert remaining < set(trace.prefill)
    for read, scores in zip(trace.steps[1:], trace.scores[1:], strict=True):
        assert set(read) < remaining
        by_token = dict(zip(trace.prefill, scores, strict=True))
        assert {token for token, score in by_token.items() if score} <= remaining
        assert min(by_token[token] for token in read) >= max(by_token[token] for token in remaining - set(read))


def test_times_add_up(tiny: Llava) -> None:
    """Time to first token and total time equal the sums of their parts, and time per token is positive."""
    (answer,) = answers(tiny, Dycoke(), ["What happens?"])
    time = answer.time_s
    assert time.first_token == pytest.approx(time.decode_video + time.vision + time.prefill)
    assert time.total == pytest.approx(time.first_token + time.decode)
    assert time.per_token is not None
    assert 0 < time.per_token < time.decode


def test_trace_equals_step_records(tiny: Llava) -> None:
    """Traced indices refer to all visual tokens, tokens read are prefilled, and recalls equal the step records."""
    (answer,) = answers(tiny, Dycoke(gate=0.99), ["What happens?"], trace=True)
    trace = answer.trace
    assert trace is not None
    assert len(trace.pieces) == len(trace.steps)
    assert "".join(trace.pieces).strip() == answer.answer
    assert (len(trace.frame), max(trace.frame), max(trace.row), max(trace.col)) == (72, 7, 2, 2)
    assert trace.steps[0] == trace.prefill == sorted(set(trace.merged_into))
    for number, (read, record) in enumerate(zip(trace.steps, answer.steps, strict=True)):
        assert len(read) == record.read
        assert set(read) <= set(trace.prefill)
        if number:
            assert record.recalled == len(set(read) - set(trace.steps[number - 1]))
            scores = dict(zip(trace.prefill, trace.scores[number], strict=True))
            if record.reselected:
                unread = set(trace.prefill) - set(read)
                assert min(scores[i] for i in read) >= max(scores[i] for i in unread)
    assert sum(record.recalled for record in answer.steps) > 0


def test_full_reads_everything_at_every_step(tiny: Llava) -> None:
    """Without compression no token is pruned, recalled or reselected."""
    (answer,) = answers(tiny, Full(), ["What happens?"])
    assert {(step.read, step.retained, step.recalled, step.reselected) for step in answer.steps} == {
        (72, 1.0, 0, False)
    }


def test_streamed_text_equals_answer(tiny: Llava) -> None:
    """The streamed pieces of each question join to its answer."""
    pieces_streamed: list[str] = []
    callbacks = Callbacks(text=pieces_streamed.append, question=lambda question: pieces_streamed.append("|"))
    session = Session(tiny, clip(), Dycoke(), SETTINGS)
    given = list(session.answers(QUESTIONS, callbacks))
    assert [piece.strip() for piece in "".join(pieces_streamed).split("|")[1:]] == [answer.answer for answer in given]


def test_times_of_a_window() -> None:
    """Times are relative to the start of the window, and its end is at most the end of the video."""
    window = Clip.of(clip().clip.frames, "0:02", "1:00")
    assert window.seconds[:3] == (-2.0, -1.0, 0.0)
    assert window.duration_s == 14.0


def test_retain_sets_method_options(tiny: Llava) -> None:
    """settings.retain sets the share of visual tokens prefilled and overrides the method's own options."""
    settings = SETTINGS.model_copy(update={"retain": 0.5})
    session = Session(tiny, clip(), Dycoke(k=0.1), settings)
    assert session.method.options()["k"] == pytest.approx(2 / 3)
    (answer,) = session.answers(["What happens?"], Callbacks())
    assert abs(answer.tokens.visual_prefill - 36) <= 8
    with pytest.raises(UsageError, match=r"full cannot retain 0\.5"):
        Session(tiny, clip(), Full(), settings)


@pytest.mark.parametrize("pooling", ["bilinear", "average"])
def test_grid_equals_encoded_grid(pooling: str) -> None:
    """`grid` equals the grid of the encoded frames."""
    model = golden_model("tiny-ov", pooling=pooling)
    assert model.grid(2) == model.encode(clip_frames()[:2].numpy()).grid


def test_method_with_a_missing_layer_is_refused(tiny: Llava) -> None:
    """A session raises UsageError for a layer that the model does not have."""
    with pytest.raises(UsageError, match="l=8"):
        Session(tiny, clip(), Dycoke(l=8), SETTINGS)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_errors_are_translated(error: Exception) -> None:
    """Every out-of-memory error becomes OutOfMemoryError with exit code 5 and a remedy."""
    with pytest.raises(OutOfMemoryError) as caught, out_of_memory_explained():
        raise error
    assert caught.value.exit_code == 5
    assert "--frames" in caught.value.remedy


def test_other_failures_pass_through() -> None:
    """Other errors are not reported as a lack of memory."""
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory_explained():
        raise RuntimeError("shapes differ")
