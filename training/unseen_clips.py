"""Clips with questions that no model is trained on, for evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.pool import render_clip
from training.question import Question
from training.questions import TEST_QUOTA, ask
from training.scenes import WORLDS, Scene
from training.timeline import Timeline

FIRST_SEED = 90_000_000  # outside the seeds of the training pools


@dataclass(frozen=True, eq=False)
class UnseenClip:
    """One clip with its questions.

    pixels: uint8 (frames, height, width, 3); owners: int8 (frames, 36), the index of the thing in each token, -1 for
    the background.
    """

    seed: int
    scene: Scene
    pixels: np.ndarray
    owners: np.ndarray
    timeline: Timeline
    questions: list[Question]


def unseen_clip(number: int, frames: int = 16, world: str = "test", quota: dict[str, int] | None = None) -> UnseenClip:
    """Render clip `number` of a world at `frames` evenly spaced times, and draw questions about those frames."""
    seed = FIRST_SEED + list(WORLDS).index(world) * 1_000_000 + number
    times = np.linspace(0, 1, frames)
    scene, pixels, owners = render_clip(seed, times, WORLDS[world])
    timeline = Timeline.of(scene, times.tolist())
    questions = ask(timeline, np.random.default_rng((seed, 1)), quota or TEST_QUOTA)
    return UnseenClip(seed, scene, pixels, owners, timeline, questions)
