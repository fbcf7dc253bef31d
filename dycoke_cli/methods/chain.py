"""Methods that act at different moments, as one: `vidcom2+dynamic`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.moments import BEFORE_PREFILL, refuse_clash
from dycoke_cli.methods.protocol import Method, ModelFacts, PrefillPruner, Selector
from dycoke_cli.tokens import Grid, VisualTokens


@dataclass(frozen=True)
class Chain(Method):
    """Several methods in one run, each at its own moment.

    Its options are those of its stages, each as `stage.option`.
    """

    name: str
    stages: tuple[Method, ...]
    acts: tuple[str, ...]
    positions: str
    needs_saliency: bool

    @classmethod
    def of(cls, stages: Sequence[Method]) -> "Chain":
        """Join `stages`. Raises UsageError where two of them would act at the same moment."""
        refuse_clash({stage.name: stage.acts for stage in stages})
        return cls(
            "+".join(stage.name for stage in stages),
            tuple(stages),
            tuple(moment for stage in stages for moment in stage.acts),
            "original" if any(stage.positions == "original" for stage in stages) else "packed",
            any(stage.needs_saliency for stage in stages),
        )

    @property
    def window(self) -> int | None:
        """That of the one stage that acts before the prefill; the others leave the tokens as they are."""
        return next((stage.window for stage in self.stages if BEFORE_PREFILL in stage.acts), None)

    def check(self, facts: ModelFacts) -> None:
        """Ask every stage; what acts at each step can only watch layers whose tokens are still there afterwards."""
        for stage in self.stages:
            stage.check(facts)
        prefill_pruner, selector = self.prefill_pruner(), self.selector(torch.ones(1, dtype=torch.int64))
        if prefill_pruner and selector and selector.score_layer < prefill_pruner.layer:
            raise UsageError(
                f"{self.name}: layer {selector.score_layer} is watched at each step, but tokens are dropped "
                f"from layer {prefill_pruner.layer} on",
                f"Watch a later layer, with l={prefill_pruner.layer + 1} or more for the method that acts at each step",
            )

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """The range of the one stage that has a choice; see `Method.retain_range`."""
        spender = self._spender(facts, grid)
        return spender.retain_range(facts, grid) if spender else (1.0, 1.0)

    def retaining(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Hand the budget to the one stage that has a choice."""
        spender = self._spender(facts, grid)
        stages = tuple(stage.retaining(retain, facts, grid) if stage is spender else stage for stage in self.stages)
        return replace(self, stages=stages)

    def _spender(self, facts: ModelFacts, grid: Grid) -> Method | None:
        spenders = [stage for stage in self.stages if stage.retain_range(facts, grid) != (1.0, 1.0)]
        if len(spenders) > 1:
            names = " and ".join(stage.name for stage in spenders)
            raise UsageError(f"--retain does not say what {names} each keep", "Set their own options with -o")
        return spenders[0] if spenders else None

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Run every stage that acts before the prefill."""
        for stage in self.stages:
            tokens = stage.compress(tokens)
        return tokens

    def prefill_pruner(self) -> PrefillPruner | None:
        """The one that acts inside the prefill, if any."""
        return next((prefill_pruner for stage in self.stages if (prefill_pruner := stage.prefill_pruner())), None)

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """The one that acts at each step, if any."""
        return next((selector for stage in self.stages if (selector := stage.selector(counts, width))), None)

    def options(self) -> dict[str, Any]:
        """Give every stage's options as `stage.option`."""
        return {f"{stage.name}.{key}": value for stage in self.stages for key, value in stage.options().items()}
