"""A question with its answer, and where in the clip that answer is to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


@dataclass(frozen=True)
class Focus:
    """Where to look: at a thing (its number in the scene), from frame `first` to frame `last`."""

    thing: int
    first: int
    last: int


@dataclass(frozen=True)
class Gaze:
    """Where to look while the answer is given up to its character `end`.

    `told` shows what is being told; `basis` is what must be found before: the other thing of a relation, the event
    after which, or what was told just now. The two may be the same.
    """

    end: int
    basis: Focus
    told: Focus


@dataclass(frozen=True)
class Mention:
    """A name in a question, ending before character `end`, and the numbers of the things that it fits at any time.

    `said` tells whether the answer says it, where the question offers names and the answer says one of them.
    """

    end: int
    things: tuple[int, ...]
    said: bool | None = None


@dataclass(frozen=True)
class Question:
    """A question, its answer, its kind; where to look while answering, in order; and whom the question names."""

    text: str
    answer: str
    kind: str
    gazes: tuple[Gaze, ...] = ()
    mentions: tuple[Mention, ...] = ()

    def seen_at(self, told: Focus, basis: Focus | None = None) -> Question:
        """Give the question with one gaze for its whole answer."""
        return replace(self, gazes=(Gaze(len(self.answer), basis or told, told),))


def some(rng: np.random.Generator, items: Sequence[Item], most: int) -> list[Item]:
    """Draw at most so many of the items, none twice."""
    return [items[index] for index in rng.permutation(len(items))[:most]]
