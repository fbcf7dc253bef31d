"""Draw questions with true answers about a timeline; each kind is one function in ASKERS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training import still_questions, time_questions
from training.mentions import mentions
from training.phrasings import vary
from training.question import Question
from training.timeline import Timeline

Asker = Callable[[Timeline, np.random.Generator, int], list[Question]]

ASKERS: dict[str, Asker] = {
    "colour": still_questions.colour,
    "shape": still_questions.shape,
    "exists": still_questions.exists,
    "count": still_questions.count,
    "background": still_questions.background,
    "position": still_questions.position,
    "relation": still_questions.relation,
    "motion": time_questions.motion,
    "order": time_questions.order,
    "change": time_questions.change,
    "event": time_questions.event,
    "describe": time_questions.describe,
}
KINDS = tuple(ASKERS)
TEST_QUOTA = dict.fromkeys(KINDS, 2) | {"count": 3, "background": 1, "describe": 1}
TRAIN_QUOTA = {
    "colour": 1,
    "shape": 1,
    "exists": 3,
    "count": 3,
    "background": 1,
    "position": 3,
    "relation": 3,
    "motion": 2,
    "order": 3,
    "change": 2,
    "event": 2,
    "describe": 1,
}

# For later phases: more questions of the kinds that are learnt last.
LATER_QUOTA = TRAIN_QUOTA | {"exists": 2, "count": 2, "position": 2, "relation": 4, "order": 4, "change": 3, "event": 3}

# Comparisons of two things stay at chance while they are a small share of the questions.
COMPARING_QUOTA = {"relation": 8, "event": 3, "order": 3, "change": 3, "motion": 2}

# The same holds for the order of occurrences.
ORDERING_QUOTA = {"order": 8, "event": 3, "change": 2, "motion": 2, "relation": 2, "describe": 1}


def ask(timeline: Timeline, rng: np.random.Generator, quota: dict[str, int]) -> list[Question]:
    """Draw at most `quota[kind]` questions of each kind; a timeline may allow fewer, or none."""
    drawn = [question for kind, most in quota.items() for question in ASKERS[kind](timeline, rng, most)]
    asked = [replace(question, text=vary(rng, question.text)) for question in drawn]
    return [replace(question, mentions=mentions(question, timeline)) for question in asked]
