"""Names in questions, attention targets of answers, their labels, and the loss that trains attention heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.attention_loss import (
    ANSWER_NAME_HEAD,
    BASIS_LAYER,
    BESIDE_LAYER,
    NAME_LAYER,
    NAMED_LAYER,
    STATED_LAYER,
    attention_loss,
)
from training.batches import choose_moments
from training.labels import POSITION_LABELS, clip_labels, extend_disappeared
from training.mentions import mentions
from training.model import build_model
from training.name_labels import answer_labels, name_before, name_labels
from training.packing import cache_argument, pack_questions, packed_logits, packed_mask, read_video
from training.pool import Recipe
from training.question import Mention, Question, Region
from training.questions import KINDS, ask
from training.scenes import Event, Scene, Thing
from training.timeline import Timeline
from training.tokenizer import train_tokenizer
from training.whitening import whitening

SCENE = Scene(
    (
        Thing("cube", "red", 0.3, (0.2, 0.2)),
        Thing("cube", "blue", 0.3, (0.8, 0.2)),
        Thing("ball", "orange", 0.3, (0.5, 0.8)),
    ),
    (1, 1),
    "grey",
)
TIMELINE = Timeline.of(SCENE, (0.0, 0.5, 1.0))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(seed=1, scenes=60)


def named(question):
    return replace(question, mentions=mentions(question, TIMELINE))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("where is the red cube?", [("red cube", (0,))]),
        ("how many cubes are there?", [("cubes", (0, 1))]),
        ("Is there a Blue thing?", [("Blue thing", (1,))]),
        ("what shape is the orange shape?", [("orange shape", (2,))]),
        ("is the ball left of the red cube?", [("ball", (2,)), ("red cube", (0,))]),
        ("is there a green star?", [("green star", ())]),
        ("what moves?", []),
    ],
)
def test_names_are_found_with_the_things_they_fit(text, found):
    names = mentions(Question(text, "", ""), TIMELINE)
    assert [one.things for one in names] == [things for _, things in found]
    assert all(text[: one.end].endswith(name) for one, (name, _) in zip(names, found, strict=True))


@pytest.mark.parametrize(
    ("text", "answer", "said"),
    [
        ("Which is lower, the Red cube or the ball?", "the red cube", [True, False]),
        ("of the ball and the red cube, which is lower?", "the red cube", [False, True]),
        ("is the ball left of the red cube?", "no", [None, None]),
        ("where is the red cube?", "on the left", [None]),
        ("what happens after the ball moves?", "the ball disappears", [None]),  # a single name is no choice
    ],
)
def test_mentions_record_whether_the_answer_contains_them(text, answer, said):
    assert [one.said for one in mentions(Question(text, answer, ""), TIMELINE)] == said


def test_every_attention_target_contains_a_visible_thing():
    recipe = Recipe(9_000_000, 60, 24)
    counts = dict.fromkeys(KINDS, 0)
    for clip in range(recipe.clips):
        rng = np.random.default_rng(clip)
        scene = recipe.scene(clip)
        timeline = Timeline.of(scene, recipe.times[choose_moments(24, 12, rng)].tolist())
        # The target of a disappearance is the first frame without the thing.
        shown = {track.number: track.visible | np.roll(track.visible, 1) for track in timeline.tracks}
        for question in ask(timeline, rng, dict.fromkeys(KINDS, 3)):
            counts[question.kind] += len(question.attention_targets)
            ends = [target.end for target in question.attention_targets]
            assert ends == sorted(ends)
            assert all(end <= len(question.answer) for end in ends)
            for region in (region for target in question.attention_targets for region in (target.basis, target.stated)):
                assert 0 <= region.first <= region.last < timeline.frames
                assert shown[region.thing][region.first : region.last + 1].any()
    assert {kind for kind, number in counts.items() if not number} <= {"count", "background"}


def test_a_pack_marks_name_ends_and_attention_targets(tokenizer):
    question = Question(
        "is the ball left of the red cube?", "yes", "relation", mentions=(Mention(11, (2,)), Mention(32, (0,)))
    )
    question = question.with_target(Region(2, 0, 2), Region(0, 1, 1))
    pack = pack_questions(tokenizer, [[question]])
    marked = [
        (tokenizer.decode([token]).strip(), bits)
        for token, bits in zip(pack.ids[0].tolist(), pack.named[0].tolist(), strict=True)
        if bits != -1
    ]
    assert marked == [("ball", 4), ("cube", 1)]
    telling = pack.attention_targets[0, pack.targets[0] != -100]
    assert telling[:-1].tolist() == [[[0, 1, 1], [2, 0, 2]]] * (len(telling) - 1)
    assert telling[-1].unique().tolist() == [-1]


def test_name_labels_hold_places_and_sides(tokenizer):
    owners = np.full((3, 36), -1)
    owners[:, 7], owners[:, 10], owners[:, 27] = 0, 1, 2
    labels = clip_labels(SCENE, TIMELINE, owners)
    where = {name: torch.tensor(labels[name]).float().flatten()[None] for name in POSITION_LABELS}
    text = "which is further left, the red cube or the ball?"
    questions = [
        named(Question(text, "the red cube", "relation")),
        named(Question("is the red cube left of the ball?", "yes", "relation")),
        Question("where are the cubes?", "", "position", mentions=(Mention(19, (0, 1)),)),
        Question("is there a star?", "no", "exists", mentions=(Mention(15, ()),)),
    ]
    pack = pack_questions(tokenizer, [questions])
    told = {name: label.tolist() for name, label in name_labels(pack, where).items()}
    nothing = pytest.approx(float("nan"), nan_ok=True)
    assert told["fits"] == [1, 1, 1, 1, 1, 0]
    assert told["named_x"] == [pytest.approx(1.2), pytest.approx(3.0)] * 2 + [nothing] * 2
    assert told["named_y"] == [pytest.approx(1.2), pytest.approx(4.8)] * 2 + [nothing] * 2
    assert told["beside_x"] == [nothing, 2, nothing, 2, nothing, nothing]
    assert told["beside_y"] == [nothing, 2, nothing, 2, nothing, nothing]
    ends = (pack.named[0] != -1).nonzero()[:, 0].tolist()
    assert name_before(pack)[0].nonzero().tolist() == [[ends[1], ends[0]], [ends[3], ends[2]]]
    judged = {name: label.tolist() for name, label in answer_labels(pack).items()}
    assert judged["said"] == [nothing, 2, nothing, nothing, nothing, nothing]
    assert judged["holds"] == [nothing, nothing, 1, 1, nothing, 2]


def test_tokens_are_labelled_with_occurrences_and_their_rank():
    things = (
        Thing("cube", "red", 0.3, (0.2, 0.2), event=Event("exit", 0.5, 2.0)),
        Thing("ball", "blue", 0.3, (0.8, 0.8), event=Event("turn", 0.75, 2.0, "white")),
        Thing("cone", "green", 0.3, (0.8, 0.2)),
    )
    scene = Scene(things, (1, 1), "grey")
    timeline = Timeline.of(scene, np.linspace(0, 1, 5).tolist())
    owners = np.full((5, 36), -1)
    owners[:2, 7], owners[:, 28], owners[:, 10] = 0, 1, 2
    assert [(one.kind, one.frame) for one in timeline.occurrences] == [("disappears", 2), ("turns", 3)]
    labels = clip_labels(scene, timeline, owners)
    assert extend_disappeared(timeline, owners)[:, 7].tolist() == [0, 0, 0, -1, -1]
    assert labels["happened"][:, 7].tolist() == [0, 0, 4, 0, 0]
    assert labels["happened"][:, 28].tolist() == [0, 0, 0, 2, 2]
    assert labels["rank"][:3, 7].tolist() == [0, 0, 1]
    assert labels["rank"][:, 28].tolist() == [0, 0, 0, 2, 2]
    assert (labels["clock"] == np.array([0, 0, 0, 1, 2])[:, None]).all()
    assert not labels["happened"][:, 10].any()
    assert not labels["rank"][:, 10].any()


def test_the_loss_trains_heads_to_attend_to_the_targets(tokenizer):
    model = build_model(tokenizer)
    torch.manual_seed(0)
    tokens = torch.randn(1, 3 * 36, 128)
    owners = np.full((3, 36), -1)
    owners[:, 7], owners[:, 10] = 0, 2
    labels = clip_labels(SCENE, TIMELINE, owners)
    where = {name: torch.tensor(labels[name]).float().flatten()[None] for name in POSITION_LABELS}
    question = Question("what colour is the ball?", "orange", "colour", mentions=(Mention(23, (2,)),))
    choice = named(Question("which is further left, the cube or the ball?", "the ball", "relation"))
    pack = pack_questions(tokenizer, [[question.with_target(Region(2, 1, 2)), choice]])
    optimiser = torch.optim.Adam(model.model.language_model.parameters(), lr=1e-3)
    shares = []
    for _ in range(60):
        cache, _ = read_video(model, tokenizer, tokens, BASIS_LAYER)
        start = cache.get_seq_length() - tokens.shape[1] - 1
        _, _, states = packed_logits(model, cache, pack)
        loss, share = attention_loss(model.model.language_model, states, cache, pack, where, start)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shares.append(share)
    assert set(shares[0]) == {f"gaze_{what}" for what in ("named", "beside", "name", "basis", "told", "said")}
    assert max(shares[0].values()) < 0.3
    assert min(shares[-1].values()) > 0.8
    # The reported shares equal the attention weights of the stock model.
    model.set_attn_implementation("eager")
    cache, _ = read_video(model, tokenizer, tokens, BASIS_LAYER)
    prefix = cache.get_seq_length()
    stock = model.model.language_model(
        input_ids=pack.ids,
        attention_mask={"full_attention": packed_mask(pack.owners, prefix)},
        position_ids=pack.offsets + prefix,
        output_attentions=True,
        **{cache_argument(model.model.language_model): cache},
    ).attentions
    cache, _ = read_video(model, tokenizer, tokens, BASIS_LAYER)
    _, _, states = packed_logits(model, cache, pack)
    _, share = attention_loss(model.model.language_model, states, cache, pack, where, prefix - tokens.shape[1] - 1)
    ball = prefix - tokens.shape[1] - 1 + torch.tensor([36 + 10, 72 + 10])
    answering = (pack.targets[0] != -100) & (pack.owners[0] == 0)
    seen = stock[STATED_LAYER][0, 0][answering][:, ball].sum(-1)
    assert share["gaze_told"] == pytest.approx(seen[: int(answering.sum()) - 1].mean().item(), abs=1e-4)
    choosing = (pack.targets[0] != -100) & (pack.owners[0] == 1)
    said = prefix + (pack.said[0] == 1).nonzero()[:, 0]
    seen = stock[STATED_LAYER][0, ANSWER_NAME_HEAD][choosing][:, said].sum(-1)
    assert share["gaze_said"] == pytest.approx(seen.mean().item(), abs=1e-4)
    assert (
        NAMED_LAYER
        < BESIDE_LAYER
        < NAME_LAYER
        < BASIS_LAYER
        < STATED_LAYER
        < model.config.text_config.num_hidden_layers
    )


def test_whitened_tokens_are_white():
    torch.manual_seed(0)
    tokens = torch.randn(4000, 6) @ torch.randn(6, 6) + 3
    matrix, offset = whitening(tokens)
    white = tokens @ matrix + offset
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(white.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
