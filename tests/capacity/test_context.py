"""Context checks: a request that is too long raises ContextError before encoding, and its remedies fit."""

import re
from collections.abc import Callable

import pytest
import transformers

from dycoke_cli.capacity.context import answer_budget, check_context
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import ContextError
from dycoke_cli.methods.options import make_method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.batch import BatchSession, Row
from dycoke_cli.session.conversation import Conversation
from dycoke_cli.session.session import Session
from dycoke_cli.system.callbacks import Callbacks
from tests.session.test_session import clip

QUESTION = "What happens?"
SHORT = Settings(max_new_tokens=4)
NAMES = [
    "full", "dycoke", "random+fastv", "random", "uniform", "fastv", "visionzip", "kmeans", "evs+dynamic", "vidcom2",
]  # fmt: skip


@pytest.fixture
def context_of(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets the number of positions in the tiny model's context."""
    config = tiny.language_model.body.config
    return lambda positions: monkeypatch.setattr(config, "max_position_embeddings", positions)


@pytest.fixture
def no_encoding(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if pixels are encoded."""

    def encode(*_: object, **__: object) -> None:
        raise AssertionError("pixels were encoded")

    monkeypatch.setattr(Llava, "encode", encode)


def context_error(
    model: Llava, name: str, frames: int, options: dict[str, str], **settings: object
) -> ContextError | None:
    """Return the error of check_context, or None."""
    try:
        changed = SHORT.model_copy(update=settings)
        Session(model, clip(frames), make_method(name, options), changed).check_context([QUESTION])
    except ContextError as error:
        return error
    return None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("positions", [120, 90, 60])
def test_remedies_fit_and_are_maximal(
    tiny: Llava, context_of: Callable[[int], None], name: str, positions: int
) -> None:
    """A run with each remedy (fewer frames, smaller --retain, other method) succeeds; with one step more it fails."""
    options = {"random": {"retain": "0.9"}, "uniform": {"retain": "0.9"}}.get(name, {})
    context_of(positions)
    error = context_error(tiny, name, 16, options)
    if error is None:
        (answer,) = Session(tiny, clip(16), make_method(name, options), SHORT).answers([QUESTION], Callbacks())
        assert answer.tokens.context == positions
        return
    assert f"the model's context has {positions}" in error.message
    assert f"method {name} needs " in error.message
    assert error.remedy is not None
    if frames := re.search(r"--frames (\d+)", error.remedy):
        fewer = int(frames[1])
        assert list(Session(tiny, clip(fewer), make_method(name, options), SHORT).answers([QUESTION], Callbacks()))
        assert context_error(tiny, name, fewer + 1, options) is not None
    if budget := re.search(r"(?:--method (\w+) )?--retain ([\d.]+)", error.remedy):
        other, retain = budget[1] or name, float(budget[2])
        own = SHORT.model_copy(update={"retain": retain})
        assert list(Session(tiny, clip(16), make_method(other, options), own).answers([QUESTION], Callbacks()))
        assert retain == 1 or context_error(tiny, other, 16, options, retain=round(retain + 0.01, 2)) is not None
    assert frames or budget


def test_remedies_use_the_given_flags(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """Remedies name the flags that the user gave."""
    context_of(120)
    remedies = {
        (name, *settings.items()): getattr(context_error(tiny, name, 16, options, **settings), "remedy", None)
        for name, options, settings in [
            ("full", {}, {}), ("full", {}, {"fps": 2.0}), ("random", {}, {"retain": 0.9}),
        ]
    }  # fmt: skip
    for (name, *_), remedy in remedies.items():
        assert remedy is not None
        assert re.fullmatch(r"Would fit: --(max-)?frames \d+, or (--method dycoke )?--retain 0\.\d+", remedy), name
    assert "--max-frames" in remedies["full", ("fps", 2.0)]
    assert "--method dycoke --retain" in remedies["full",]
    assert "--method" not in remedies["random", ("retain", 0.9)]


def test_question_too_long_for_any_video(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """If not even one frame fits with the question, the remedy is a shorter question."""
    context_of(20)
    with pytest.raises(ContextError) as caught:
        check_context(tiny, make_method("full", {}), SHORT, clip(1).clip, [QUESTION])
    assert "for one frame and the question" in caught.value.message
    assert caught.value.remedy == "Ask a shorter question"


def test_longest_question_is_checked(tiny: Llava, context_of: Callable[[int], None], no_encoding: None) -> None:
    """The longest question is checked before the first answer starts, wherever it is in the list."""
    context_of(8 * 9 + 1 + 100)
    session = Session(tiny, clip(8), make_method("full", {}), SHORT)
    session.check_context([QUESTION])
    with pytest.raises(ContextError):
        next(session.answers([QUESTION, "and then? " * 20], Callbacks()))


def test_answer_fills_the_context(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """A prompt that leaves n positions returns an answer of n tokens, with a notice; none left raises ContextError."""
    (answer,) = Session(tiny, clip(8), make_method("full", {}), SHORT).answers([QUESTION], Callbacks())
    length = answer.tokens.prompt_uncompressed
    for remaining in (1, 3):
        context_of(length + remaining)
        notices: list[str] = []
        session = Session(tiny, clip(8), make_method("full", {}), SHORT)
        (short,) = session.answers([QUESTION], Callbacks(notice=notices.append))
        assert (short.tokens.generated, short.finish) == (remaining, "length")
        assert notices == [
            f"{remaining} tokens of the model's context are left for this answer. "
            "Fewer frames, or a smaller --retain, make room"
        ]
        assert answer.answer.startswith(short.answer)
    context_of(length)
    assert context_error(tiny, "full", 8, {}) is not None


def test_batch_is_checked_before_encoding(tiny: Llava, context_of: Callable[[int], None], no_encoding: None) -> None:
    """A batch with a row that does not fit raises ContextError before any row is encoded."""
    context_of(150)
    rows = [Row(clip(2), QUESTION), Row(clip(16), QUESTION)]
    with pytest.raises(ContextError, match="16 frames"):
        BatchSession(tiny, make_method("full", {}), SHORT).answers(rows)


def test_batched_row_ends_with_the_context(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """The answer of the longest row is cut at the end of the context; the other answer does not change."""
    settings = Settings(max_new_tokens=6)
    rows = [Row(clip(4), QUESTION), Row(clip(8), QUESTION)]
    method = make_method("dycoke", {})
    plain = BatchSession(tiny, method, settings).answers(rows)
    context_of(plain[1].tokens.visual_prefill + plain[1].tokens.newline + plain[1].tokens.text + 2)
    first, second = BatchSession(tiny, method, settings).answers(rows)
    assert (first.answer, first.steps) == (plain[0].answer, plain[0].steps)
    assert (second.tokens.generated, second.finish) == (2, "length")
    assert second.steps == plain[1].steps[:2]


def test_conversation_is_checked_before_prefill(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """A conversation whose video does not fit raises ContextError before its first question."""
    session = Session(tiny, clip(8), make_method("full", {}), SHORT)
    encoded = session.encode(Callbacks())
    context_of(60)
    with pytest.raises(ContextError, match="8 frames"):
        Conversation(session, encoded)


def test_answer_budget() -> None:
    """The error message contains the subject that the caller passed."""
    with pytest.raises(ContextError, match="the conversation takes 12 positions; the model's context has 12"):
        answer_budget(12, 12, 5, Callbacks(), "the conversation", "Shorten it")
    assert answer_budget(12, 2, 5, Callbacks(), "the conversation", "Shorten it") == 5


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        ({"rope_type": "default", "rope_theta": 1e4}, 512),
        ({"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}, 2048),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "rope_theta": 1e4}, 2048),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 128, "rope_theta": 1e4}, 512),
    ],
)
def test_context_includes_rope_scaling(
    tiny: Llava, monkeypatch: pytest.MonkeyPatch, rope: dict[str, object], positions: int
) -> None:
    """The context includes RoPE scaling, and is never smaller than max_position_embeddings."""
    config = transformers.Qwen2Config(max_position_embeddings=512, rope_parameters=rope)
    monkeypatch.setattr(tiny.language_model.body, "config", config)
    assert tiny.language_model.context == positions
