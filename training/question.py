"""A question with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


@dataclass(frozen=True)
class Question:
    """A question, its answer, and its kind."""

    text: str
    answer: str
    kind: str


def some(rng: np.random.Generator, items: Sequence[Item], most: int) -> list[Item]:
    """Draw at most so many of the items, none twice."""
    return [items[index] for index in rng.permutation(len(items))[:most]]
