"""Chains of methods that act at different moments of one run, such as `vidcom2+dynamic`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.moments import BEFORE_PREFILL, refuse_moment_conflict
from dycoke_cli.methods.protocol import Method, ModelFacts, PrefillPruner, Selector
from dycoke_cli.tokens import Grid, VisualTokens


@dataclass(frozen=True)
class Chain(Method):
    """Several methods as one, each acting at its own moment; an option is named `stage.option`."""

    name: str
    stages: tuple[Method, ...]
    acts: tuple[str, ...]
    positions: str
    needs_saliency: bool

    @classmethod
    def of(cls, stages: Sequence[Method]) -> "Chain":
        """Combine `stages`. Raise UsageError if two of them act at the same moment."""
        refuse_moment_conflict({stage.name: stage.acts for stage in stages})
        return cls(
            "+".join(stage.name for stage in stages),
            tuple(stages),
            tuple(moment for stage in stages for moment in stage.acts),
            "original" if any(stage.positions == "original" for stage in stages) else "packed",
            any(stage.needs_saliency for stage in stages),
        )

    @property
    def window(self) -> int | None:
        """The window of the stage that acts before the prefill; no other stage changes the tokens."""
        return next((stage.window for stage in self.stages if BEFORE_PREFILL in stage.acts), None)

    def check(self, facts: ModelFacts) -> None:
        """Check every stage, and that attention is scored in a layer that stores only what the prefill kept."""
        for stage in self.stages:
            stage.check(facts)
        prefill_pruner, selector = self.prefill_pruner(), self.selector(torch.ones(1, dtype=torch.int64))
        if prefill_pruner and selector and selector.score_layer < prefill_pruner.layer:
            raise UsageError(
                f"{self.name}: attention is scored in layer {selector.score_layer} at each step, but tokens are "
                f"dropped from layer {prefill_pruner.layer} on",
                f"Score a later layer, with l={prefill_pruner.layer + 1} or more for the method that acts at each step",
            )

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Return the range of the only stage with a budget; see `Method.retain_range`."""
        stage = self._budget_stage(facts, grid)
        return stage.retain_range(facts, grid) if stage else (1.0, 1.0)

    def with_budget(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Apply the budget to the only stage that has one; see `Method.with_budget`."""
        chosen = self._budget_stage(facts, grid)
        stages = tuple(stage.with_budget(retain, facts, grid) if stage is chosen else stage for stage in self.stages)
        return replace(self, stages=stages)

    def _budget_stage(self, facts: ModelFacts, grid: Grid) -> Method | None:
        """Return the only stage that can keep fewer tokens; None if no stage can. Raise UsageError if several can."""
        stages = [stage for stage in self.stages if stage.retain_range(facts, grid) != (1.0, 1.0)]
        if len(stages) > 1:
            names = " and ".join(stage.name for stage in stages)
            raise UsageError(f"--retain cannot be divided between {names}", "Set their own options with -o")
        return stages[0] if stages else None

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Compress with every stage in turn; only the one that acts before the prefill changes the tokens."""
        for stage in self.stages:
            tokens = stage.compress(tokens)
        return tokens

    def prefill_pruner(self) -> PrefillPruner | None:
        """Return the pruner of the stage that acts inside the prefill, if any."""
        return next((prefill_pruner for stage in self.stages if (prefill_pruner := stage.prefill_pruner())), None)

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """Return the selector of the stage that acts at each step, if any."""
        return next((selector for stage in self.stages if (selector := stage.selector(counts, width))), None)

    def options(self) -> dict[str, Any]:
        """Return the options of all stages, named `stage.option`."""
        return {f"{stage.name}.{key}": value for stage in self.stages for key, value in stage.options().items()}
