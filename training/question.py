"""A question with its answer, the names in it, and the visual tokens that the answer depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


@dataclass(frozen=True)
class Region:
    """The visual tokens of a thing (its number in the scene) in frames `first` to `last`, both included."""

    thing: int
    first: int
    last: int


@dataclass(frozen=True)
class AttentionTarget:
    """The regions to attend to while generating the answer up to its character `end`.

    stated: what this part of the answer states. basis: what must be found first: the other thing of a relation, the
    reference event, or the region of the previous part. The two may be the same.
    """

    end: int
    basis: Region
    stated: Region


@dataclass(frozen=True)
class Mention:
    """A name in a question, ending before character `end`, and the numbers of the things that it fits at any time.

    said: whether the answer contains the name; None unless the answer contains some of the question's names.
    """

    end: int
    things: tuple[int, ...]
    said: bool | None = None


@dataclass(frozen=True)
class Question:
    """A question with answer and kind, attention targets in the order of the answer, and the names in the question."""

    text: str
    answer: str
    kind: str
    attention_targets: tuple[AttentionTarget, ...] = ()
    mentions: tuple[Mention, ...] = ()

    def with_target(self, stated: Region, basis: Region | None = None) -> Question:
        """Return the question with one attention target for its whole answer."""
        return replace(self, attention_targets=(AttentionTarget(len(self.answer), basis or stated, stated),))


def some(rng: np.random.Generator, items: Sequence[Item], most: int) -> list[Item]:
    """Draw at most `most` of the items without replacement."""
    return [items[index] for index in rng.permutation(len(items))[:most]]
