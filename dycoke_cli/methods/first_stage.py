"""The base class of methods that act only before the prefill, and token merging that they share."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.methods.moments import BEFORE_PREFILL
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.methods.ranges import PositiveShare
from dycoke_cli.tokens import Grid


@dataclass(frozen=True)
class FirstStage(Method):
    """A method that acts only before the prefill and can meet any budget.

    retain: share of all visual tokens to keep, above 0 to 1; at least one token is kept.
    positions: "packed" numbers the prompt without gaps, "original" keeps the positions of the uncompressed prompt;
        Qwen-VL, whose positions count frames, rows and columns, always keeps them.
    """

    acts = (BEFORE_PREFILL,)

    retain: PositiveShare = 0.25
    positions: Literal["packed", "original"] = "packed"

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Return 0 to 1, as any budget can be met; see `Method.retain_range`."""
        return 0.0, 1.0

    def with_budget(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Set the option `retain`; see `Method.with_budget`."""
        return replace(self, retain=retain)


def nearest_kept(features: Tensor, kept: Tensor) -> Tensor:
    """Return for each token of one frame the kept token it is most similar to, its own index if kept.

    features: (tokens, hidden); kept: (kept,) int64, at least one. Similarity is cosine; the first of equals wins.
    Returns (tokens,) int64.
    """
    unit = F.normalize(features.float(), dim=-1)
    nearest = kept[(unit @ unit[kept].T).argmax(dim=1)]
    return nearest.scatter(0, kept, kept)
