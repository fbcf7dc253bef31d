"""FastV: after a few layers, drop the visual tokens that the end of the prompt attends to least.

Source: Chen et al., "An Image is Worth 1/2 Tokens After Layer 2: Plug-and-Play Inference Acceleration for Large
Vision-Language Models", ECCV 2024, arXiv 2403.06764.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from torch import Tensor

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.dynamic import check_layer
from dycoke_cli.methods.moments import IN_PREFILL
from dycoke_cli.methods.protocol import Method, ModelFacts, PrefillPruner
from dycoke_cli.methods.ranges import Count, Share
from dycoke_cli.tokens import Grid


@dataclass(frozen=True)
class Fastv(Method):
    """Run the first layers on everything, the others on the visual tokens that the last prompt token attends to most.

    Tokens are ranked over the whole video by attention, softmax in float32, mean over heads. Those that are dropped
    leave the later layers' computation and cache for good; the others keep their order and positions. The choice
    depends on the question, so several questions about one video do not share a prefill.

    The budget is the mean over the layers: with l of T layers on everything it cannot be below l / T.

    l: layers from this one on run without the dropped tokens; the layer before it is watched. At least 1.
    keep: share of the visual tokens that those layers keep, 0 to 1; at least one stays.
    """

    name = "fastv"
    source = "Chen et al., ECCV 2024, arXiv 2403.06764"
    acts = (IN_PREFILL,)

    l: Count = 5  # noqa: E741  (as in dycoke)
    keep: Share = 0.35

    def check(self, facts: ModelFacts) -> None:
        """Refuse a layer that the network does not have."""
        check_layer(self.name, self.l, facts, lowest=1)

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """The first layers run on everything."""
        return self.l / facts.layers, 1.0

    def retaining(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """What the first layers leave of the budget is the others' share."""
        return replace(self, keep=(retain * facts.layers - self.l) / (facts.layers - self.l))

    def prefill_pruner(self) -> PrefillPruner | None:
        """With keep=1 nothing is dropped, and nothing need be watched."""
        return MostAttended(self.l, self.keep) if self.keep < 1 else None


class MostAttended(NamedTuple):
    """The share `keep` of the visual tokens with the highest scores goes on."""

    layer: int
    keep: float

    def choose(self, scores: Tensor) -> Tensor:
        """Of equal scores the earlier token goes on; see `PrefillPruner.choose`."""
        ranked = scores.sort(descending=True, stable=True).indices
        return ranked[: rounded(self.keep, len(scores))].sort().values
