"""DyCoke: temporal token merging before the prefill, dynamic KV cache pruning at each decode step.

Source: Tao et al., "DyCoke: Dynamic Compression of Tokens for Fast Video Large Language Models", CVPR 2025,
arXiv 2411.15024.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

from torch import Tensor

from dycoke_cli.errors import UsageError
from dycoke_cli.methods import dycoke_official
from dycoke_cli.methods.dynamic import Dynamic, check_layer
from dycoke_cli.methods.moments import BEFORE_PREFILL, EACH_STEP
from dycoke_cli.methods.protocol import Method, ModelFacts, Selector
from dycoke_cli.methods.ranges import Layer, Share
from dycoke_cli.methods.temporal_merging import WINDOW, merge_windows
from dycoke_cli.tokens import Grid, VisualTokens


@dataclass(frozen=True)
class Dycoke(Method):
    """Merge similar tokens of neighbouring frames, then read only the most attended tokens at each decode step.

    A window is four frames; with Qwen-VL, which merges two frames into one patch, it is four patches, or eight frames.

    k: share of the tokens of each frame but a window's first that merge into an earlier frame, 0 to 1.
    l: first layer that reads only the active visual tokens; attention is scored in the layer before it.
    p: share of the visual tokens that a decode step does not read, 0 to 1; at least one is read.
    gate: a new active set is selected when the cosine similarity of attention to the scores that selected the current
        set is below this.
    variant: "paper", or "official" to select exactly as the authors' released code does.
    positions: "packed" numbers the prompt without gaps, "original" keeps the positions of the uncompressed prompt;
        Qwen-VL, whose positions count frames, rows and columns, always keeps them.
    select: "dynamic", or "once" to keep the set of the first decode step (the paper's one-shot ablation).
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
                    raise UsageError(f"variant=official requires {name}={fixed}", f"Leave out -o {name}")

    @property
    def window(self) -> int | None:
        """Four frames; None for the official variant, which treats the last window differently."""
        return WINDOW if self.variant == "paper" else None

    def check(self, facts: ModelFacts) -> None:
        """Raise UsageError for a layer beyond the last, or where the official code has no defined behaviour."""
        check_layer(self.name, self.l, facts)
        if self.variant == "official":
            dycoke_official.check(self.l, facts)

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Return the range; the first frame of every window is kept whole, a quarter of the frames or more."""
        return math.ceil(grid.frames / WINDOW) / grid.frames, 1.0

    def with_budget(self, retain: float, facts: ModelFacts, grid: Grid) -> Self:
        """Set k so that the other frames fill the budget that remains after the whole frames."""
        if self.variant == "official":
            raise UsageError(
                "variant=official cannot meet a budget, as it truncates token counts", "Set -o k instead of --retain"
            )
        low, _ = self.retain_range(facts, grid)
        return self if low == 1 else replace(self, k=(1 - retain) / (1 - low))

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Run the first stage, temporal token merging (TTM)."""
        features = tokens.by_frame()
        if self.variant == "official":
            return tokens.keep(dycoke_official.merge_windows(features, self.k))
        return tokens.keep(*merge_windows(features, self.k))

    def selector(self, counts: Tensor, width: int | None = None) -> Selector | None:
        """Return the selector of the second stage; None with p=0 in the paper variant."""
        if self.variant == "official":
            return dycoke_official.OfficialSelector(counts, self.p, self.l, width)
        return Dynamic(self.l, self.p, self.gate, self.select).selector(counts, width)
