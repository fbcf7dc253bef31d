"""Unseen clips with their questions, to score models and methods on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.pool import render_clip
from training.question import Question
from training.questions import TEST_QUOTA, ask
from training.scenes import WORLDS, Scene
from training.timeline import Timeline

FIRST_SEED = 90_000_000  # far from every seed that is trained on


@dataclass(frozen=True, eq=False)
class Paper:
    """One clip of an exam: its scene, frames uint8 (frames, height, width, 3), which thing each token shows
    (owners int8 (frames, 36), an index into the scene's things, -1 for the background), and what is asked."""

    seed: int
    scene: Scene
    pixels: np.ndarray
    owners: np.ndarray
    timeline: Timeline
    questions: list[Question]


def paper(number: int, frames: int = 16, world: str = "test", quota: dict[str, int] | None = None) -> Paper:
    """Render clip `number` of a world and ask about what its `frames` evenly spaced frames show."""
    seed = FIRST_SEED + list(WORLDS).index(world) * 1_000_000 + number
    times = np.linspace(0, 1, frames)
    scene, pixels, owners = render_clip(seed, times, WORLDS[world])
    timeline = Timeline.of(scene, times.tolist())
    questions = ask(timeline, np.random.default_rng((seed, 1)), quota or TEST_QUOTA)
    return Paper(seed, scene, pixels, owners, timeline, questions)
