"""A conversation's turns are those of fresh runs over the same conversation, and cost only what is new in them."""

import dataclasses

import numpy as np
import pytest
import torch
import transformers

from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.generate import generate
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.llava import BEFORE, Llava
from dycoke_cli.session.conversation import HEADROOM, Conversation, Turn
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.tokens import Prompt
from dycoke_cli.video.frames import Frames, VideoInfo
from tests.conftest import clip_frames
from tests.engine.reference import Stage2, Vector, forward
from tests.engine.test_against_reference import slow_model
from tests.engine.test_generate import read_set

QUESTIONS = ["What happens?", "colour?", "And then, in the end?"]
SETTINGS = Settings(max_new_tokens=6)
SILENT = Callbacks()


def session(model: Llava, method: Method, count: int = 8, settings: Settings = SETTINGS) -> Session:
    info = VideoInfo("clip", 16.0, 1.0, 16, 120, 90, "pyav", "test")
    numbers = tuple(range(count))
    frames = Frames(np.asarray(clip_frames()[:count]), numbers, tuple(map(float, numbers)), info)
    return Session(model, Video.of(frames, decode_s=0.25), method, settings)


def conversation(model: Llava, method: Method, count: int = 8, settings: Settings = SETTINGS) -> Conversation:
    chat = session(model, method, count, settings)
    return Conversation(chat, chat.encode(SILENT))


def generated(turn: Turn) -> list[int]:
    """All tokens of an answer, the one that ended it included."""
    return turn.recorder.ids


def test_full_is_stock_generate_over_the_whole_conversation(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn by turn: transformers, given pixels and the token ids of everything said so far, answers the same."""
    monkeypatch.setattr(tiny.model.config, "video_token_index", 415)  # an id that the tokenizer never gives
    chat = conversation(tiny, Full())
    visual = [415] * tiny.layout.length(tiny.grid(8))
    ids = tiny.tokenize(BEFORE) + visual + tiny.question_ids(QUESTIONS[0], [], 0.0)
    for number, question in enumerate(QUESTIONS):
        if number:
            ids += [*chat.turns[-1].ids, *tiny.tokenize(f"<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n")]
            ids += tiny.tokenize("<|im_start|>assistant\n")
        turn = chat.ask(question, SILENT)
        stock = tiny.model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
            pixel_values_videos=tiny.pixels(clip_frames()[:8].numpy())[None],
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=sorted(tiny.stop_ids),
            temperature=None, top_p=None, top_k=None, repetition_penalty=1.0,
        )  # fmt: skip
        assert generated(turn) == stock[0, len(ids) :].tolist()


@pytest.mark.parametrize("method", [Dycoke(gate=0.99), Dycoke(l=0, p=0.9, positions="original")], ids=repr)
def test_dycoke_is_a_slow_replay_of_the_same_turns(tiny: Llava, method: Dycoke) -> None:
    """In float64 and plain loops: text is prefilled with everything read, answers are decoded with a second stage
    that is made anew each turn; logits' maxima and the sets read agree at every step of every turn."""
    chat = conversation(tiny, method, 6)
    slow = slow_model(tiny)
    table = slow.weights["embed_tokens.weight"]
    place = 0
    for question in QUESTIONS:
        prompt = chat.prompt(question)
        turn = chat.ask(question, SILENT)
        for embed, number in zip(
            prompt.embeds[place:].double().numpy(), prompt.positions[place:].tolist(), strict=True
        ):
            logits: Vector = forward(slow, embed, number, None)
        stage2 = Stage2(prompt.visual.tolist(), method.l, method.p, method.gate)
        ids, selections = generated(turn), turn.recorder.selections
        for step, (token, selection) in enumerate(zip(ids, selections, strict=True)):
            if step:
                logits = forward(slow, table[ids[step - 1]], number + step, stage2)
                assert selection is not None
                assert set(selection.index[0].tolist()) == set(stage2.active or ())
            assert token == int(np.argmax(logits))
        place = len(prompt) + len(ids) - 1
    assert [turn.reused for turn in chat.turns][1:] == sorted({turn.reused for turn in chat.turns[1:]})


EVERY = [
    Full(),
    Dycoke(),
    Dycoke(positions="original"),
    make_method("visionzip+dynamic", {}),
    Dycoke(variant="official"),
]


@pytest.mark.parametrize("method", EVERY, ids=repr)
def test_the_first_turn_is_ask(tiny: Llava, method: Method) -> None:
    """Answer, counts and steps of the first question are those of a session that is asked nothing else."""
    turn = conversation(tiny, method).ask(QUESTIONS[0], SILENT)
    (alone,) = session(tiny, method).answers(QUESTIONS[:1], SILENT, trace=True)
    assert (turn.answer.answer, turn.answer.finish) == (alone.answer, alone.finish)
    assert (turn.answer.tokens, turn.answer.steps) == (alone.tokens, alone.steps)
    assert turn.answer.memory_bytes.kv == alone.memory_bytes.kv
    ours, theirs = turn.traced().trace, alone.trace
    assert ours is not None
    assert theirs is not None
    assert dataclasses.replace(ours, scores=[]) == dataclasses.replace(theirs, scores=[])
    for mine, wanted in zip(ours.scores, theirs.scores, strict=True):
        assert mine == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("name", ["fastv", "kmeans+fastv+dynamic"])
def test_what_drops_tokens_by_the_question_prefills_anew(tiny: Llava, name: str) -> None:
    """Each turn is a run over the whole conversation, with all tokens to choose from."""
    method = make_method(name, {"fastv.l": "2"})
    chat = conversation(tiny, method)
    assert chat.prefills_anew
    for question in QUESTIONS:
        prompt = chat.prompt(question)
        turn = chat.ask(question, SILENT)
        own = chat.session
        fresh = list(generate(tiny.language_model, [prompt], own.method, own.stop, own.sampling))
        assert generated(turn) == [step.tokens[0] for step in fresh]
        assert turn.reused == 0
        assert turn.answer.tokens.visual_prefill == len(prompt.visual)


def test_every_pruned_token_is_a_candidate_again(tiny: Llava) -> None:
    """The second turn's first set is what its own attention asks for, whatever the first turn had left out."""
    chat = conversation(tiny, Dycoke(select="once"))
    first, second = (chat.ask(question, SILENT) for question in QUESTIONS[:2])
    sets = [set(turn.traced().trace.steps[1]) for turn in (first, second)]  # type: ignore[union-attr]
    assert sets[0] != sets[1]
    assert second.answer.steps[1].reselected
    assert not any(step.reselected for step in second.answer.steps[2:])


def test_growing_changes_nothing(tiny: Llava) -> None:
    """A buffer that is too small for the conversation is copied into a larger one, and the answers stay."""
    chat, small = conversation(tiny, Dycoke()), conversation(tiny, Dycoke())
    assert small.buffer is not None
    assert chat.buffer is not None
    small.buffer = small.session.graphs.grown(small.buffer, small.video_end)
    asked = [*QUESTIONS, "word " * HEADROOM]
    grown = []
    for question in asked:
        assert chat.ask(question, SILENT).ids == small.ask(question, SILENT).ids
        grown.append(small.buffer.slots)
    assert small.video_end < grown[0] < grown[-1]
    assert chat.buffer.lengths == small.buffer.lengths


def test_a_full_context_is_refused_and_can_be_cleared(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer is as long as fits, with a notice; then one line says what to do; /clear makes room."""
    chat = conversation(tiny, Full())
    first = chat.ask("What?", SILENT)
    end = len(chat.prompt("colour?"))
    monkeypatch.setattr(tiny.language_model.body.config, "max_position_embeddings", end + 2)
    notices: list[str] = []
    assert len(chat.ask("colour?", Callbacks(notice=notices.append)).ids) <= 2
    assert "2 tokens" in notices[0]
    with pytest.raises(UsageError) as caught:
        chat.ask("And then?", SILENT)
    assert "/clear" in caught.value.remedy
    assert len(chat.turns) == 2
    chat.clear()
    assert chat.ask("What?", SILENT).ids == first.ids


def test_an_interrupted_answer_stays_as_far_as_it_came(tiny: Llava) -> None:
    """The next turn goes on from the words that were shown, as a fresh run over them does."""
    chat, calls = conversation(tiny, Full()), iter([False, False, True])
    turn = chat.ask(QUESTIONS[0], SILENT, lambda: next(calls))
    assert (turn.answer.finish, len(turn.ids)) == ("interrupted", 3)
    following = chat.ask(QUESTIONS[1], SILENT)
    chat.turns.pop()
    whole: Prompt = chat.prompt(QUESTIONS[1])
    own = chat.session
    steps = list(generate(tiny.language_model, [whole], own.method, own.stop, own.sampling))
    assert generated(following) == [step.tokens[0] for step in steps]
    assert all(read_set(step) is None for step in steps)


def test_a_turn_that_fails_leaves_no_trace(tiny: Llava) -> None:
    """Ctrl-C before or amid the words that were shown: the same question then gets the same answer."""

    def hit(piece: str) -> None:
        raise KeyboardInterrupt

    chat, other = conversation(tiny, Dycoke()), conversation(tiny, Dycoke())
    chat.ask(QUESTIONS[0], SILENT)
    other.ask(QUESTIONS[0], SILENT)
    for callbacks in (Callbacks(phase=hit), Callbacks(text=hit)):
        with pytest.raises(KeyboardInterrupt):
            chat.ask(QUESTIONS[1], callbacks)
    assert chat.ask(QUESTIONS[2], SILENT).ids == other.ask(QUESTIONS[2], SILENT).ids


def test_another_method_takes_the_conversation_over(tiny: Llava) -> None:
    """The turns so far are prefilled as text; the answer is that of a fresh run over it with the new method."""
    before = conversation(tiny, Dycoke())
    before.ask(QUESTIONS[0], SILENT)
    own = session(tiny, Full())
    after = Conversation(own, own.encode(SILENT), earlier=before.turns)
    prompt = after.prompt(QUESTIONS[1])
    turn = after.ask(QUESTIONS[1], SILENT)
    steps = list(generate(tiny.language_model, [prompt], own.method, own.stop, own.sampling))
    assert generated(turn) == [step.tokens[0] for step in steps]


@pytest.fixture(scope="module")
def mid_size(tiny: Llava) -> Llava:
    """Random weights, large enough that the video outweighs what every call costs: 16 frames of 64 tokens."""
    torch.manual_seed(0)
    vision = transformers.SiglipVisionConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        image_size=224, patch_size=14, vision_use_head=False,
    )  # fmt: skip
    text = transformers.Qwen2Config(
        vocab_size=len(tiny.tokenizer), hidden_size=384, intermediate_size=1536, num_hidden_layers=6,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=8192,
    )  # fmt: skip
    config = transformers.LlavaOnevisionConfig(
        vision_config=vision, text_config=text, vision_feature_layer=-1, vision_feature_select_strategy="full"
    )
    return Llava(transformers.LlavaOnevisionForConditionalGeneration(config).eval(), tiny.tokenizer, VideoLayout())


@pytest.mark.parametrize("method", [Full(), Dycoke()], ids=repr)
def test_the_second_turn_is_quick(mid_size: Llava, method: Method) -> None:
    """Its first token takes under a quarter of what the first one's takes without vision; its answer is that of a
    fresh run. The machine may be busy: the best of three counts."""
    ratios = []
    for _ in range(3):
        chat = conversation(mid_size, method, 16, SETTINGS.model_copy(update={"max_new_tokens": 2}))
        first = chat.ask(QUESTIONS[0], SILENT).answer.time_s
        whole = chat.prompt(QUESTIONS[1])
        second = chat.ask(QUESTIONS[1], SILENT)
        assert (first.vision, second.answer.time_s.vision) == (0, 0)
        ratios.append(second.answer.time_s.first_token / first.first_token)
        if ratios[-1] < 0.25:
            break
    assert min(ratios) < 0.25
    own = chat.session
    fresh = list(generate(mid_size.language_model, [whole], own.method, own.stop, own.sampling))
    assert generated(second) == [step.tokens[0] for step in fresh]
