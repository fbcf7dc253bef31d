"""What does not fit the model's context is refused before anything is encoded, and what is named instead does fit."""

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
    """Gives the tiny model a context of so many positions."""
    config = tiny.language_model.body.config
    return lambda positions: monkeypatch.setattr(config, "max_position_embeddings", positions)


@pytest.fixture
def blind(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every look at pixels a failure."""

    def encode(*_: object, **__: object) -> None:
        raise AssertionError("something was encoded")

    monkeypatch.setattr(Llava, "encode", encode)


def refused(model: Llava, name: str, frames: int, options: dict[str, str], **settings: object) -> ContextError | None:
    try:
        own = SHORT.model_copy(update=settings)
        Session(model, clip(frames), make_method(name, options), own).check_context([QUESTION])
    except ContextError as error:
        return error
    return None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("positions", [120, 90, 60])
def test_what_would_fit_fits_and_a_frame_more_does_not(
    tiny: Llava, context_of: Callable[[int], None], name: str, positions: int
) -> None:
    """Fewer frames, a smaller budget or another method: each way out that is named is taken, by a run to its end."""
    options = {"random": {"retain": "0.9"}, "uniform": {"retain": "0.9"}}.get(name, {})
    context_of(positions)
    error = refused(tiny, name, 16, options)
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
        assert refused(tiny, name, fewer + 1, options) is not None
    if budget := re.search(r"(?:--method (\w+) )?--retain ([\d.]+)", error.remedy):
        other, retain = budget[1] or name, float(budget[2])
        own = SHORT.model_copy(update={"retain": retain})
        assert list(Session(tiny, clip(16), make_method(other, options), own).answers([QUESTION], Callbacks()))
        assert retain == 1 or refused(tiny, other, 16, options, retain=round(retain + 0.01, 2)) is not None
    assert frames or budget


def test_every_way_out_is_named(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """In terms of the flags that were used."""
    context_of(120)
    remedies = {
        (name, *settings.items()): getattr(refused(tiny, name, 16, options, **settings), "remedy", None)
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


def test_a_question_that_never_fits(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """No number of frames helps, and none is named."""
    context_of(20)
    with pytest.raises(ContextError) as caught:
        check_context(tiny, make_method("full", {}), SHORT, clip(1).clip, [QUESTION])
    assert "for one frame and the question" in caught.value.message
    assert caught.value.remedy == "Ask a shorter question"


def test_the_longest_of_several_questions_counts(tiny: Llava, context_of: Callable[[int], None], blind: None) -> None:
    """Whatever its place; the answer to the first does not begin."""
    context_of(8 * 9 + 1 + 100)
    session = Session(tiny, clip(8), make_method("full", {}), SHORT)
    session.check_context([QUESTION])
    with pytest.raises(ContextError):
        next(session.answers([QUESTION, "and then? " * 20], Callbacks()))


def test_the_last_position_can_be_used(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """A prompt that leaves one position gives an answer of one token, and says why it ends there."""
    (answer,) = Session(tiny, clip(8), make_method("full", {}), SHORT).answers([QUESTION], Callbacks())
    length = answer.tokens.prompt_uncompressed
    for left in (1, 3):
        context_of(length + left)
        said: list[str] = []
        session = Session(tiny, clip(8), make_method("full", {}), SHORT)
        (short,) = session.answers([QUESTION], Callbacks(notice=said.append))
        assert (short.tokens.generated, short.finish) == (left, "length")
        assert said == [
            f"{left} tokens of the model's context are left for this answer. "
            "Fewer frames, or a smaller --retain, make room"
        ]
        assert answer.answer.startswith(short.answer)
    context_of(length)
    assert refused(tiny, "full", 8, {}) is not None


def test_a_batch_is_refused_before_its_first_row_is_encoded(
    tiny: Llava, context_of: Callable[[int], None], blind: None
) -> None:
    """One row that does not fit is found before the work for the others."""
    context_of(150)
    rows = [Row(clip(2), QUESTION), Row(clip(16), QUESTION)]
    with pytest.raises(ContextError, match="16 frames"):
        BatchSession(tiny, make_method("full", {}), SHORT).answers(rows)


def test_a_row_of_a_batch_ends_at_the_end_of_the_context(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """The longest video's answer is cut short, and the others' are what they are alone."""
    settings = Settings(max_new_tokens=6)
    rows = [Row(clip(4), QUESTION), Row(clip(8), QUESTION)]
    method = make_method("dycoke", {})
    plain = BatchSession(tiny, method, settings).answers(rows)
    context_of(plain[1].tokens.visual_prefill + plain[1].tokens.newline + plain[1].tokens.text + 2)
    first, second = BatchSession(tiny, method, settings).answers(rows)
    assert (first.answer, first.steps) == (plain[0].answer, plain[0].steps)
    assert (second.tokens.generated, second.finish) == (2, "length")
    assert second.steps == plain[1].steps[:2]


def test_a_conversation_is_refused_before_its_prefill(tiny: Llava, context_of: Callable[[int], None]) -> None:
    """Its video alone is too long, before any question."""
    session = Session(tiny, clip(8), make_method("full", {}), SHORT)
    encoded = session.encode(Callbacks())
    context_of(60)
    with pytest.raises(ContextError, match="8 frames"):
        Conversation(session, encoded)


def test_no_room_for_an_answer() -> None:
    """What the caller says of itself is in the message."""
    with pytest.raises(ContextError, match="the talk takes 12 positions; the model's context has 12"):
        answer_budget(12, 12, 5, Callbacks(), "the talk", "Say less")
    assert answer_budget(12, 2, 5, Callbacks(), "the talk", "Say less") == 5


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        ({"rope_type": "default", "rope_theta": 1e4}, 512),
        ({"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}, 2048),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "rope_theta": 1e4}, 2048),
        ({"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 128, "rope_theta": 1e4}, 512),
    ],
)
def test_stretched_positions_count(
    tiny: Llava, monkeypatch: pytest.MonkeyPatch, rope: dict[str, object], positions: int
) -> None:
    """A config.json that stretches its positions means the stretched ones, and never fewer than it names."""
    config = transformers.Qwen2Config(max_position_embeddings=512, rope_parameters=rope)
    monkeypatch.setattr(tiny.language_model.body, "config", config)
    assert tiny.language_model.context == positions
