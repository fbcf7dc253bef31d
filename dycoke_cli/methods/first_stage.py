"""What the methods share that act before the prefill and nowhere else."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from dycoke_cli.methods.moments import BEFORE_PREFILL
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.methods.ranges import SomeShare
from dycoke_cli.tokens import Grid


@dataclass(frozen=True)
class FirstStage(Method):
    """A method whose whole work is to say which visual tokens enter, and that can meet any budget.

    retain: share of all visual tokens that enters, above 0 to 1; at least one token does.
    positions: "packed" numbers the prompt without gaps, "original" keeps the numbers of the uncompressed prompt;
        Qwen-VL, whose positions count frames, rows and columns, always keeps them.
    """

    acts = (BEFORE_PREFILL,)

    retain: SomeShare = 0.25
    positions: Literal["packed", "original"] = "packed"

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Any budget; see `Method.retain_range`."""
        return 0.0, 1.0

    def retaining(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """The budget is an option; see `Method.retaining`."""
        return replace(self, retain=retain)
