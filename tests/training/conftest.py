"""Scenes, timelines, a tokenizer and an untrained model, shared by the tests."""

from __future__ import annotations

import numpy as np
import pytest

from training.model import build_model
from training.scenes import sample_scene
from training.timeline import Timeline
from training.tokenizer import train_tokenizer

SIXTEEN = np.linspace(0, 1, 16).tolist()


@pytest.fixture(scope="session")
def scenes():
    rng = np.random.default_rng(5)
    return [sample_scene(rng) for _ in range(400)]


@pytest.fixture(scope="session")
def timelines(scenes):
    rng = np.random.default_rng(6)
    moments = (SIXTEEN, SIXTEEN[::-1], SIXTEEN[4:12], SIXTEEN[::5])
    return [Timeline.of(scene, moments[rng.integers(len(moments))]) for scene in scenes]


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(seed=0, scenes=120)


@pytest.fixture(scope="session")
def model(tokenizer):
    return build_model(tokenizer).eval()
