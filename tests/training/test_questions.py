"""Questions have true answers, no answer is too frequent, and descriptions are scored by facts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.training.answer_checker import is_true
from tests.training.conftest import SIXTEEN
from training.facts import facts, score_description
from training.questions import KINDS, TRAIN_QUOTA, ask
from training.samples import samples
from training.scenes import Event, Scene, Thing
from training.time_questions import description
from training.timeline import Timeline

MANY = dict.fromkeys(KINDS, 6)


def test_every_answer_is_true(timelines):
    rng = np.random.default_rng(0)
    asked = Counter()
    for timeline in timelines:
        for question in ask(timeline, rng, MANY):
            assert is_true(timeline, question.text, question.answer, question.kind), question
            asked[question.kind] += 1
    assert set(asked) == set(KINDS)
    assert min(asked.values()) > 50


def test_no_answer_can_be_guessed(timelines):
    rng = np.random.default_rng(0)
    answers: dict[str, Counter] = {kind: Counter() for kind in KINDS}
    for timeline in timelines:
        for question in ask(timeline, rng, TRAIN_QUOTA):
            answers[question.kind][question.answer] += 1
    share = {kind: max(counts.values()) / counts.total() for kind, counts in answers.items()}
    most = {"exists": 0.56, "count": 0.5, "background": 0.35, "relation": 0.5, "change": 0.35, "motion": 0.35}
    assert all(value < most.get(kind, 0.25) for kind, value in share.items()), share
    assert answers["motion"]["it stays still"] <= 1.2 * max(answers["motion"][way] for way in ("left", "up", "down"))
    assert answers["event"]["nothing"] < 0.12 * answers["event"].total()


def test_occurrences_depend_on_the_sampled_frames():
    thing = Thing("ball", "red", 0.3, (0.5, 0.5), event=Event("enter", 0.5, 2.0))
    scene = Scene((thing,), (16, 9), "grey")
    forwards, backwards = Timeline.of(scene, SIXTEEN), Timeline.of(scene, SIXTEEN[::-1])
    assert [one.clause for one in forwards.occurrences] == ["a red ball appears in the middle"]
    assert [one.clause for one in backwards.occurrences] == ["the red ball disappears"]
    assert Timeline.of(scene, SIXTEEN[8:]).occurrences == ()
    assert Timeline.of(scene, SIXTEEN[:8]).tracks == ()


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_sample_questions_are_true(sample):
    timeline = Timeline.of(sample.scene, SIXTEEN)
    assert timeline.ordered
    for question in sample.questions:
        assert is_true(timeline, question.text, question.answer, question.kind), question


def test_a_true_description_has_every_fact_right(timelines):
    for timeline in timelines:
        if timeline.ordered:
            score = score_description(description(timeline), timeline)
            assert (score.precision, score.recall, score.invented) == (1.0, 1.0, False)


def test_wrong_and_missing_facts_count():
    things = (
        Thing("ball", "red", 0.3, (0.15, 0.5)),
        Thing("cube", "blue", 0.3, (0.5, 0.85), event=Event("move", 0.2, 0.8, (0.85, 0.85))),
    )
    timeline = Timeline.of(Scene(things, (1, 1), "grey"), SIXTEEN)
    said = "at first there is a red ball on the left and a green cube at the bottom. then the blue cube moves left."
    assert facts(said) == {
        ("red ball", "is there at first"),
        ("red ball", "is at first", "on the left"),
        ("green cube", "is there at first"),
        ("green cube", "is at first", "at the bottom"),
        ("blue cube", "moves left"),
    }
    score = score_description(said, timeline)
    assert score.precision == 2 / 5
    assert score.recall == 2 / 5
    assert score.invented
    assert not score_description(said.replace("green", "blue"), timeline).invented
    assert score_description("something strange", timeline).precision == 0
