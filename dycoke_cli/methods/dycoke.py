"""DyCoke: temporal token merging before the prefill, dynamic pruning of what each decode step reads.

Source: Tao et al., "DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models", CVPR 2025,
arXiv 2411.15024.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods import dycoke_official
from dycoke_cli.methods.protocol import ModelFacts, Selection, Selector
from dycoke_cli.tokens import VisualTokens

WINDOW = 4  # frames that are merged together


@dataclass(frozen=True)
class Dycoke:
    """Merge similar tokens of neighbouring frames, then read at each step only what attention asks for.

    k: share of the tokens of a compressed frame that merge into an earlier frame, 0 to 1.
    l: layers from this one on read only the active visual tokens; the layer before it is watched.
    p: share of the visual tokens that a decode step leaves unread, 0 to 1; at least one is read.
    gate: the active set is chosen anew when the attention's cosine similarity to what chose it falls below this.
    variant: "paper", or "official" for the exact selection of the authors' released code.
    positions: "packed" numbers the prompt without gaps, "original" keeps the numbers of the uncompressed prompt.
    """

    name: ClassVar[str] = "dycoke"

    k: float = 0.7
    l: int = 3  # noqa: E741  (the paper's name)
    p: float = 0.7
    gate: float = 0.9
    variant: Literal["paper", "official"] = "paper"
    positions: Literal["packed", "original"] = "packed"

    def __post_init__(self) -> None:
        for name in ("k", "p"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(f"dycoke option {name}={value} is not between 0 and 1", f"Try -o {name}=0.7")
        if self.l < 0:
            raise UsageError(f"dycoke option l={self.l} is negative", "Try -o l=3")
        if self.variant == "official" and self.positions == "original":
            raise UsageError("variant=official always packs positions", "Leave out -o positions=original")

    def check(self, facts: ModelFacts) -> None:
        """Refuse a layer that the network does not have, and a layout the official code cannot run."""
        if self.l >= facts.layers:
            raise UsageError(
                f"dycoke option l={self.l} is beyond the last layer of this model",
                f"It has {facts.layers} layers: use -o l=0 to -o l={facts.layers - 1}",
            )
        if self.variant == "official":
            dycoke_official.check(self.l, facts)

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Run the first stage, temporal token merging (TTM)."""
        if self.variant == "official":
            return tokens.keep(dycoke_official.merge_windows(tokens.features.unflatten(0, _frames(tokens)), self.k))
        if len(tokens) != tokens.grid.total:
            raise UsageError("temporal token merging needs every token of every frame", "Put dycoke first in the chain")
        merged_into = merge_windows(tokens.features.unflatten(0, _frames(tokens)), self.k)
        kept = torch.nonzero(merged_into == torch.arange(len(tokens), device=merged_into.device)).squeeze(1)
        return tokens.keep(kept, merged_into)

    def selector(self, counts: Tensor) -> Selector | None:
        """Make the second stage; with p=0 there is none."""
        if self.variant == "official":
            return dycoke_official.OfficialSelector(counts, self.p, self.l)
        if self.p == 0:
            return None
        return DynamicSelector(counts, self.p, self.l, self.gate)


def _frames(tokens: VisualTokens) -> tuple[int, int]:
    return tokens.grid.frames, tokens.grid.per_frame


def merge_windows(features: Tensor, k: float) -> Tensor:
    """Say for every token which token stands for it after temporal token merging.

    features: (frames, per_frame, hidden), unpruned. Frames form windows of four, f0 f1 f2 f3, the last one may be
    shorter. f1 is compared with f0, f3 with f2, and f2 with f0, by cosine similarity at the same position; the most
    similar round(k * per_frame) tokens of each merge into the frame it was compared with.
    Returns (frames * per_frame,) int64: the token's own number if it stays.
    """
    frames, per_frame = features.shape[:2]
    numbers = torch.arange(frames * per_frame, device=features.device).unflatten(0, (frames, per_frame))
    merged_into = numbers.clone()
    merges = math.floor(k * per_frame + 0.5)
    # f2 first, so that what f3 hands to a token of f2 that is itself gone goes on to f0.
    for offset, back in ((2, 2), (1, 1), (3, 1)):
        later = torch.tensor(range(offset, frames, WINDOW), dtype=torch.int64, device=features.device)
        similarity = F.cosine_similarity(features[later].float(), features[later - back].float(), dim=-1)
        places = similarity.sort(dim=-1, descending=True, stable=True).indices[:, :merges]
        merged_into[later[:, None], places] = merged_into[later[:, None] - back, places]
    return merged_into.flatten()


class DynamicSelector:
    """The active set of dynamic pruning: the best-attended visual tokens, kept while attention stays similar."""

    def __init__(self, counts: Tensor, p: float, layer: int, gate: float) -> None:
        self.score_layer = max(layer - 1, 0)
        self.prune_from = max(layer, 1)
        self.gate = gate
        keep = [max(1, math.floor((1 - p) * count + 0.5)) if count else 0 for count in counts.tolist()]
        self.width = max(keep)
        device = counts.device
        rank = torch.arange(self.width, device=device)
        ragged = min(keep) < self.width
        self.valid = rank < torch.tensor(keep, device=device)[:, None] if ragged else None
        self.exists = torch.arange(int(counts.max()), device=device) < counts[:, None]
        self.index = rank.repeat(len(keep), 1)
        self.reference = torch.zeros(self.exists.shape, device=device)  # the scores that chose `index`; 0: none yet

    def select(self, scores: Tensor) -> Selection:
        """Choose again where the gate is open, else keep the set. See `Selector.select`."""
        similarity = F.cosine_similarity(scores, self.reference, dim=-1)
        changed = (similarity < self.gate) | (self.reference == 0).all(dim=-1)
        # Scores are at least 0: -1 puts tokens that do not exist behind all others.
        ranked = scores.masked_fill(~self.exists, -1.0).topk(self.width, dim=-1).indices
        self.index = torch.where(changed[:, None], ranked, self.index)
        self.reference = torch.where(changed[:, None], scores, self.reference)
        return Selection(self.index, self.valid, changed)
