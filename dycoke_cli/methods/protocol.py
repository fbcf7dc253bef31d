"""What a compression method answers, and when it is asked."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, Self

from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.ranges import range_of
from dycoke_cli.tokens import Grid, VisualTokens


class ModelFacts(NamedTuple):
    """What a method may need to know about the network before it accepts to run on it."""

    layers: int  # decoder layers of the language model
    newline: str  # where the family inserts newline embeddings: one_token, grid, frame or no_token
    saliency: bool = False  # the family can tell how much attention each token receives in the vision tower


@dataclass(frozen=True)
class Selection:
    """Which visual tokens of the prompt one decode step reads.

    `index` may hold surplus entries, so that its shape never depends on the scores; `valid` says which ones count.
    """

    index: Tensor  # (batch, width) int64, into the visual tokens of each prompt
    valid: Tensor | None  # (batch, width) bool; None: all of them
    changed: Tensor  # (batch,) bool, chosen anew at this step


class Selector(Protocol):
    """What a method does at each decode step of one run: fresh state, fixed shapes, no host synchronization.

    Whatever depends on the run or changes with its steps is a tensor, written in place, so that a step can be captured
    once and serve other runs of the same shapes.
    """

    score_layer: int  # the layer whose attention it wants to see
    prune_from: int  # the first layer that reads only the selection

    def select(self, scores: Tensor) -> Selection:
        """Choose what is read from `scores` (batch, tokens) float32, higher is more important, 0 where a prompt
        has no token."""
        ...

    def only(self, rows: Tensor) -> Self:
        """Give the selector that goes on with `rows` (kept,) int64 of the batch alone."""
        ...


class PrefillPruner(Protocol):
    """What a method does inside the prefill: from `layer` on, only the visual tokens it chooses exist."""

    @property
    def layer(self) -> int:
        """The first layer that runs without the others, at least 1; the layer before it is watched."""
        ...

    def choose(self, scores: Tensor) -> Tensor:
        """Name the visual tokens of one prompt that go on.

        scores: (tokens,) float32, the last prompt token's attention, higher is more important.
        Returns (kept,) int64, strictly increasing.
        """
        ...


class Method:
    """One way to spend fewer visual tokens; without anything overridden it spends them all.

    A subclass is a frozen dataclass: its fields are the options, its docstring explains them, and their annotations say
    which numbers they take. The state of a run lives in the `Selector` that it makes.
    """

    name: str
    source: str = "this project"  # paper or code that it is taken from
    acts: tuple[str, ...] = ()  # at which moments
    positions: str = "packed"  # rotary positions: "packed" counts what is left, "original" leaves gaps
    needs_saliency: bool = False  # wants VisualTokens.saliency

    def __post_init__(self) -> None:
        """Raise UsageError for an option out of its range."""
        for field in fields(self):  # type: ignore[arg-type]
            if (limits := range_of(field.type)) is not None:
                limits.check(self.name, field.name, getattr(self, field.name), field.default)

    @property
    def window(self) -> int | None:
        """How many frames `compress` looks at together: windows may be compressed one by one. None: the whole video."""
        return None

    def check(self, facts: ModelFacts) -> None:
        """Raise UsageError where the method or an option does not fit the network."""
        if self.needs_saliency and not facts.saliency:
            raise UsageError(
                f"method {self.name} needs the vision tower's attention, which this model's family does not offer",
                "Use a method without it: see `dycoke methods`",
            )

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Give the lowest and highest budget the method can meet; see `budget.with_retain`."""
        return 1.0, 1.0

    def retaining(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Return the method with the options that meet a budget in its range."""
        return self

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Say which visual tokens enter the language model."""
        return tokens

    def prefill_pruner(self) -> PrefillPruner | None:
        """Make what acts inside the prefill; None: every layer sees what entered."""
        return None

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """Make what acts at each step, for prompts with `counts` (batch,) int64 visual tokens; None: all are read.

        width: how many places a row of scores has, by default as many as the largest count.
        """
        return None

    def options(self) -> dict[str, Any]:
        """Give the options as plain values, for records."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
