"""What a compression method answers, and when it is asked."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from dycoke_cli.tokens import VisualTokens


class ModelFacts(NamedTuple):
    """What a method may need to know about the network before it accepts to run on it."""

    layers: int  # decoder layers of the language model
    newline: str  # where the family inserts newline embeddings: one_token, grid, frame or no_token


@dataclass(frozen=True)
class Selection:
    """Which visual tokens of the prompt one decode step reads.

    `index` may hold surplus entries, so that its shape never depends on the scores; `valid` says which ones count.
    """

    index: Tensor  # (batch, width) int64, into the visual tokens of each prompt
    valid: Tensor | None  # (batch, width) bool; None: all of them
    changed: Tensor  # (batch,) bool, chosen anew at this step


class Selector(Protocol):
    """The second stage of a method for one run: fresh state, fixed shapes, no host synchronization."""

    score_layer: int  # the layer whose attention it wants to see
    prune_from: int  # the first layer that reads only the selection

    def select(self, scores: Tensor) -> Selection:
        """Choose what is read from `scores` (batch, tokens) float32, higher is more important, 0 where a prompt
        has no token."""
        ...


class Method(Protocol):
    """One way to spend fewer visual tokens.

    Its options are its frozen dataclass fields; the state of a run lives in the `Selector` it makes.
    """

    name: ClassVar[str]

    @property
    def positions(self) -> str:
        """Rotary positions of the prompt: "packed" counts what is left, "original" leaves gaps."""
        ...

    def check(self, facts: ModelFacts) -> None:
        """Raise UsageError where an option does not fit the network."""
        ...

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Say which visual tokens enter the language model."""
        ...

    def selector(self, counts: Tensor) -> Selector | None:
        """Make the second stage for prompts with `counts` (batch,) int64 visual tokens; None: always read all."""
        ...
