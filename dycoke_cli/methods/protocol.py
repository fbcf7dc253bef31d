"""Interfaces of compression methods: `Method`, the selectors and pruners it returns, and what they receive."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, Self

from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.ranges import range_of
from dycoke_cli.tokens import Grid, VisualTokens


class ModelFacts(NamedTuple):
    """Properties of a model that a method is checked against."""

    layers: int  # decoder layers of the language model
    newline: str  # layout of newline embeddings: one_token, grid, frame or no_token
    saliency: bool = False  # the family can compute the attention each token receives in the vision tower


@dataclass(frozen=True)
class Selection:
    """The visual tokens of each prompt that one decode step reads.

    `index` may contain padding, so that its shape does not depend on the scores; `valid` masks it.
    """

    index: Tensor  # (batch, width) int64, indices into the visual tokens of each prompt
    valid: Tensor | None  # (batch, width) bool; None: all are valid
    changed: Tensor  # (batch,) bool, True if selected again at this step


class Selector(Protocol):
    """Selects the visual tokens of each decode step of one run, with fixed shapes and no host synchronization.

    All state that depends on the run or its steps is a tensor, written in place, so that a captured step can be reused
    for other runs of the same shapes.
    """

    score_layer: int  # the layer whose attention is scored
    prune_from: int  # the first layer that reads only the selection

    def select(self, scores: Tensor) -> Selection:
        """Select from `scores` (batch, tokens) float32, higher is more important, 0 for padding."""
        ...

    def only(self, rows: Tensor) -> Self:
        """Return the selector for `rows` (kept,) int64 of the batch, with their state."""
        ...


class PrefillPruner(Protocol):
    """Chooses the visual tokens that layers from `layer` on compute and store during the prefill."""

    @property
    def layer(self) -> int:
        """The first layer without the dropped tokens, at least 1; attention is scored in the layer before it."""
        ...

    def choose(self, scores: Tensor) -> Tensor:
        """Return the indices of the visual tokens to keep in one prompt: (kept,) int64, strictly increasing.

        scores: (tokens,) float32, attention of the last prompt token, higher is more important.
        """
        ...


class Method:
    """Base class of compression methods; unless overridden, it keeps and reads all visual tokens.

    A subclass is a frozen dataclass: its fields are the options, its docstring explains them, and their annotations
    define the allowed numbers. An instance has no state of a run; that is in the `Selector` it returns.
    """

    name: str
    source: str = "this project"  # paper or code
    acts: tuple[str, ...] = ()  # moments, see `moments`
    positions: str = "packed"  # rotary positions: "packed" without gaps, "original" as in the uncompressed prompt
    needs_saliency: bool = False  # requires VisualTokens.saliency

    def __post_init__(self) -> None:
        """Raise UsageError for an option outside its range."""
        for field in fields(self):  # type: ignore[arg-type]
            if (limits := range_of(field.type)) is not None:
                limits.check(self.name, field.name, getattr(self, field.name), field.default)

    @property
    def window(self) -> int | None:
        """Number of frames that `compress` processes independently of all others; None: the whole video together."""
        return None

    def check(self, facts: ModelFacts) -> None:
        """Raise UsageError if the method or an option does not fit the model."""
        if self.needs_saliency and not facts.saliency:
            raise UsageError(
                f"method {self.name} needs the vision tower's attention, which this model's family does not provide",
                "Use a method without it: see `dycoke methods`",
            )

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Return the lowest and highest budget the method can meet; see `budget.with_retain`."""
        return 1.0, 1.0

    def with_budget(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Return the method with options that meet the budget `retain`, within its range."""
        return self

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Return the visual tokens that enter the language model."""
        return tokens

    def prefill_pruner(self) -> PrefillPruner | None:
        """Return the pruner that acts inside the prefill; None: all layers run on all tokens that entered."""
        return None

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """Return the selector for prompts with `counts` (batch,) int64 visual tokens; None: every step reads all.

        width: tokens per row of scores including padding, by default the largest count.
        """
        return None

    def options(self) -> dict[str, Any]:
        """Return the options as plain values, for records."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
