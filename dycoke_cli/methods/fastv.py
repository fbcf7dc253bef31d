"""FastV: drop the visual tokens that the last prompt token attends to least, after the first layers.

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
    """Run the first layers on all tokens, the others on the visual tokens that the last prompt token attends to most.

    Tokens are ranked over the whole video by attention, softmax in float32, mean over heads. Later layers neither
    compute nor store the dropped tokens; the others keep their order and positions. The selection depends on the
    question, so several questions about one video do not share a prefill.

    The budget is the mean over the layers: with l of T layers on all tokens it is at least l / T.

    l: first layer that runs without the dropped tokens, at least 1; attention is scored in the layer before it.
    keep: share of the visual tokens that those layers keep, 0 to 1; at least one is kept.
    """

    name = "fastv"
    source = "Chen et al., ECCV 2024, arXiv 2403.06764"
    acts = (IN_PREFILL,)

    l: Count = 5  # noqa: E741  (the same name as in dycoke)
    keep: Share = 0.35

    def check(self, facts: ModelFacts) -> None:
        """Raise UsageError for a layer beyond the last."""
        check_layer(self.name, self.l, facts, lowest=1)

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Return the range; the first layers run on all tokens."""
        return self.l / facts.layers, 1.0

    def with_budget(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Set `keep` so that the later layers fill the budget that remains after the first layers."""
        return replace(self, keep=(retain * facts.layers - self.l) / (facts.layers - self.l))

    def prefill_pruner(self) -> PrefillPruner | None:
        """Return the pruner; None with keep=1, where nothing is dropped."""
        return MostAttended(self.l, self.keep) if self.keep < 1 else None


class MostAttended(NamedTuple):
    """A prefill pruner that keeps the share `keep` of the visual tokens with the highest scores."""

    layer: int
    keep: float

    def choose(self, scores: Tensor) -> Tensor:
        """Return the highest-scored tokens, of equal scores the earlier; see `PrefillPruner.choose`."""
        ranked = scores.sort(descending=True, stable=True).indices
        return ranked[: rounded(self.keep, len(scores))].sort().values
