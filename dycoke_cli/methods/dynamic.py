"""DyCoke's second stage: dynamic pruning of what each decode step reads.

Source: Tao et al., "DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models", CVPR 2025,
arXiv 2411.15024.
"""

import math
from copy import copy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.moments import EACH_STEP
from dycoke_cli.methods.protocol import Method, ModelFacts, Selection, Selector
from dycoke_cli.methods.ranges import Layer, Share


@dataclass(frozen=True)
class Dynamic(Method):
    """Read at each decode step only the visual tokens that attention asks for; the others wait to be recalled.

    This is DyCoke's second stage alone. It goes with any first stage: `vidcom2+dynamic`.

    l: layers from this one on read only the active visual tokens; the layer before it is watched.
    p: share of the visual tokens that a decode step leaves unread, 0 to 1; at least one is read.
    gate: the active set is chosen anew when the attention's cosine similarity to what chose it falls below this.
    select: "dynamic", or "once" to choose at the first decode step and stay with it (the paper's one-shot ablation).
    """

    name = "dynamic"
    source = "Tao et al., CVPR 2025, arXiv 2411.15024"
    acts = (EACH_STEP,)

    l: Layer = 3  # noqa: E741  (the paper's name)
    p: Share = 0.7
    gate: float = 0.9
    select: Literal["dynamic", "once"] = "dynamic"

    def check(self, facts: ModelFacts) -> None:
        """Refuse a layer that the network does not have."""
        check_layer(self.name, self.l, facts)

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """With p=0 every token is read, and nothing need be watched."""
        return dynamic_selector(counts, self.p, self.l, self.gate, self.select, width)


def check_layer(method: str, layer: int, facts: ModelFacts, lowest: int = 0) -> None:
    """Raise UsageError for a layer that the network does not have."""
    if layer >= facts.layers:
        raise UsageError(
            f"{method} option l={layer} is beyond the last layer of this model",
            f"It has {facts.layers} layers: use -o l={lowest} to -o l={facts.layers - 1}",
        )


def dynamic_selector(
    counts: Tensor, p: float, layer: int, gate: float, select: str, width: int | None = None
) -> Selector | None:
    """Make the second stage that the options describe."""
    if p == 0:
        return None
    # No similarity of attention is below 0, so this gate never opens again.
    return DynamicSelector(counts, p, layer, gate if select == "dynamic" else -1.0, width)


class DynamicSelector:
    """The active set of dynamic pruning: the best-attended visual tokens, kept while attention stays similar."""

    def __init__(self, counts: Tensor, p: float, layer: int, gate: float, width: int | None = None) -> None:
        self.score_layer = max(layer - 1, 0)
        self.prune_from = max(layer, 1)
        self.gate = gate
        places = int(counts.max()) if width is None else width
        keep = [_active(p, count) for count in counts.tolist()]
        self.width = _active(p, places)
        device = counts.device
        rank = torch.arange(self.width, device=device)
        ragged = min(keep) < self.width
        self.valid = rank < torch.tensor(keep, device=device)[:, None] if ragged else None
        self.exists = torch.arange(places, device=device) < counts[:, None]
        self.index = rank.repeat(len(keep), 1)
        self.reference = torch.zeros(self.exists.shape, device=device)  # the scores that chose `index`; 0: none yet

    def select(self, scores: Tensor) -> Selection:
        """Choose again where the gate is open, else keep the set. See `Selector.select`."""
        similarity = F.cosine_similarity(scores, self.reference, dim=-1)
        changed = (similarity < self.gate) | (self.reference == 0).all(dim=-1)
        # Scores are at least 0: -1 puts tokens that do not exist behind all others.
        ranked = scores.masked_fill(~self.exists, -1.0).topk(self.width, dim=-1).indices
        self.index.copy_(torch.where(changed[:, None], ranked, self.index))
        self.reference.copy_(torch.where(changed[:, None], scores, self.reference))
        return Selection(self.index, self.valid, changed)

    def only(self, rows: Tensor) -> "DynamicSelector":
        """See `Selector.only`."""
        left = copy(self)
        left.valid = None if self.valid is None else self.valid[rows]
        left.exists, left.index, left.reference = self.exists[rows], self.index[rows], self.reference[rows]
        return left


def _active(p: float, count: int) -> int:
    """Count the tokens that a step reads of `count`: at least one where there is any."""
    return max(1, math.floor((1 - p) * count + 0.5)) if count else 0
