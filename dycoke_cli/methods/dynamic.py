"""DyCoke's second stage: dynamic KV cache pruning at each decode step.

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
    """Read only the most attended visual tokens at each decode step; the others stay in the cache for later steps.

    This is DyCoke's second stage alone. It can follow any first stage: `vidcom2+dynamic`.

    l: first layer that reads only the active visual tokens; attention is scored in the layer before it.
    p: share of the visual tokens that a decode step does not read, 0 to 1; at least one is read.
    gate: a new active set is selected when the cosine similarity of attention to the scores that selected the current
        set is below this.
    select: "dynamic", or "once" to keep the set of the first decode step (the paper's one-shot ablation).
    """

    name = "dynamic"
    source = "Tao et al., CVPR 2025, arXiv 2411.15024"
    acts = (EACH_STEP,)

    l: Layer = 3  # noqa: E741  (the paper's name)
    p: Share = 0.7
    gate: float = 0.9
    select: Literal["dynamic", "once"] = "dynamic"

    def check(self, facts: ModelFacts) -> None:
        """Raise UsageError for a layer beyond the last."""
        check_layer(self.name, self.l, facts)

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """Return the selector; None with p=0, where every token is read."""
        if self.p == 0:
            return None
        # A cosine similarity of attention is at least 0: with a gate of -1 no later step selects again.
        return DynamicSelector(counts, self.p, self.l, self.gate if self.select == "dynamic" else -1.0, width)


def check_layer(method: str, layer: int, facts: ModelFacts, lowest: int = 0) -> None:
    """Raise UsageError for a layer beyond the last; `lowest` is the first allowed one, for the remedy."""
    if layer >= facts.layers:
        raise UsageError(
            f"{method} option l={layer} is beyond the last layer of this model",
            f"It has {facts.layers} layers: use -o l={lowest} to -o l={facts.layers - 1}",
        )


class DynamicSelector:
    """The active set of dynamic pruning: the most attended visual tokens, kept while attention stays similar."""

    def __init__(self, counts: Tensor, p: float, layer: int, gate: float, width: int | None = None) -> None:
        self.score_layer = max(layer - 1, 0)
        self.prune_from = max(layer, 1)
        self.gate = gate
        places = int(counts.max()) if width is None else width
        keep = [_active_count(p, count) for count in counts.tolist()]
        self.width = _active_count(p, places)
        device = counts.device
        rank = torch.arange(self.width, device=device)
        ragged = min(keep) < self.width
        self.valid = rank < torch.tensor(keep, device=device)[:, None] if ragged else None
        self.exists = torch.arange(places, device=device) < counts[:, None]
        self.index = rank.repeat(len(keep), 1)
        self.reference = torch.zeros(self.exists.shape, device=device)  # the scores that selected `index`; 0: none yet

    def select(self, scores: Tensor) -> Selection:
        """Select again in rows whose similarity is below the gate, else keep the set. See `Selector.select`."""
        similarity = F.cosine_similarity(scores, self.reference, dim=-1)
        changed = (similarity < self.gate) | (self.reference == 0).all(dim=-1)
        # Scores are at least 0: -1 ranks padding last.
        ranked = scores.masked_fill(~self.exists, -1.0).topk(self.width, dim=-1).indices
        self.index.copy_(torch.where(changed[:, None], ranked, self.index))
        self.reference.copy_(torch.where(changed[:, None], scores, self.reference))
        return Selection(self.index, self.valid, changed)

    def only(self, rows: Tensor) -> "DynamicSelector":
        """See `Selector.only`."""
        subset = copy(self)
        subset.valid = None if self.valid is None else self.valid[rows]
        subset.exists, subset.index, subset.reference = self.exists[rows], self.index[rows], self.reference[rows]
        return subset


def _active_count(p: float, count: int) -> int:
    """Return how many of `count` tokens a step reads, at least 1 unless `count` is 0."""
    return max(1, math.floor((1 - p) * count + 0.5)) if count else 0
