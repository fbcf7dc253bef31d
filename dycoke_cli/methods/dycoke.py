"""DyCoke: temporal token merging before the prefill, dynamic pruning of what each decode step reads.

Source: Tao et al., "DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models", CVPR 2025,
arXiv 2411.15024.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods import dycoke_official
from dycoke_cli.methods.dynamic import check_layer, dynamic_selector
from dycoke_cli.methods.moments import BEFORE_PREFILL, EACH_STEP
from dycoke_cli.methods.protocol import Method, ModelFacts, Selector
from dycoke_cli.methods.ranges import Layer, Share
from dycoke_cli.tokens import Grid, VisualTokens

WINDOW = 4  # frames that are merged together


@dataclass(frozen=True)
class Dycoke(Method):
    """Merge similar tokens of neighbouring frames, then read at each step only what attention asks for.

    With Qwen-VL, which makes one patch of two frames, a window of four is four patches: eight frames.

    k: share of the tokens of a compressed frame that merge into an earlier frame, 0 to 1.
    l: layers from this one on read only the active visual tokens; the layer before it is watched.
    p: share of the visual tokens that a decode step leaves unread, 0 to 1; at least one is read.
    gate: the active set is chosen anew when the attention's cosine similarity to what chose it falls below this.
    variant: "paper", or "official" for the exact selection of the authors' released code.
    positions: "packed" numbers the prompt without gaps, "original" keeps the numbers of the uncompressed prompt;
        Qwen-VL, whose positions count frames, rows and columns, always keeps them.
    select: "dynamic", or "once" to choose at the first decode step and stay with it (the paper's one-shot ablation).
    """

    name = "dycoke"
    source = "Tao et al., CVPR 2025, arXiv 2411.15024"
    acts = (BEFORE_PREFILL, EACH_STEP)

    k: Share = 0.7
    l: Layer = 3  # noqa: E741  (the paper's name)
    p: Share = 0.7
    gate: float = 0.9
    variant: Literal["paper", "official"] = "paper"
    positions: Literal["packed", "original"] = "packed"
    select: Literal["dynamic", "once"] = "dynamic"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant == "official":
            for name, fixed in (("positions", "packed"), ("select", "dynamic")):
                if getattr(self, name) != fixed:
                    raise UsageError(f"variant=official always has {name}={fixed}", f"Leave out -o {name}")

    @property
    def window(self) -> int | None:
        """Every four frames are merged by themselves; the official code treats the last window in another way."""
        return WINDOW if self.variant == "paper" else None

    def check(self, facts: ModelFacts) -> None:
        """Refuse a layer that the network does not have, and a layout the official code cannot run."""
        check_layer(self.name, self.l, facts)
        if self.variant == "official":
            dycoke_official.check(self.l, facts)

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """The first frame of every window stays whole: a quarter at the least, more where the last one is shorter."""
        return math.ceil(grid.frames / WINDOW) / grid.frames, 1.0

    def retaining(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Choose k: what the whole frames leave of the budget is the others' share."""
        if self.variant == "official":
            raise UsageError("variant=official rounds in a way that meets no budget", "Set -o k instead of --retain")
        low, _ = self.retain_range(facts, grid)
        return self if low == 1 else replace(self, k=(1 - retain) / (1 - low))

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Run the first stage, temporal token merging (TTM)."""
        features = tokens.by_frame()
        if self.variant == "official":
            return tokens.keep(dycoke_official.merge_windows(features, self.k))
        merged_into = merge_windows(features, self.k)
        kept = torch.nonzero(merged_into == torch.arange(len(tokens), device=merged_into.device)).squeeze(1)
        return tokens.keep(kept, merged_into)

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """Make the second stage; with p=0 there is none."""
        if self.variant == "official":
            return dycoke_official.OfficialSelector(counts, self.p, self.l, width)
        return dynamic_selector(counts, self.p, self.l, self.gate, self.select, width)


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
