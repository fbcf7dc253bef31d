"""Efficient Video Sampling (EVS): keep the tokens that change most from frame to frame.

Source: Bagrov et al., "Efficient Video Sampling: Pruning Temporally Redundant Tokens for Faster VLM Inference", 2025,
arXiv 2510.14624, as implemented by vLLM's video pruning option.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.first_stage import FirstStage
from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.tokens import Grid, VisualTokens


@dataclass(frozen=True)
class Evs(FirstStage):
    """Keep the first frame, and the tokens of all other frames that differ most from the frame before.

    The difference is 1 - cosine similarity to the same position one frame earlier. All frames share one ranking, so a
    frame may lose all of its tokens or none. The other tokens are dropped, not merged.
    """

    name = "evs"
    source = "Bagrov et al. 2025, arXiv 2510.14624; vLLM"

    def retain_range(self, facts: ModelFacts, grid: Grid) -> tuple[float, float]:
        """Return the range; the first frame is always kept."""
        return 1 / grid.frames, 1.0

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Rank all tokens of the video together, ties in raster order."""
        features = tokens.by_frame().float()
        per_frame = features.shape[1]
        change = 1 - F.cosine_similarity(features[1:], features[:-1], dim=-1)
        first = torch.full((1, per_frame), torch.inf, device=change.device)
        ranked = torch.cat([first, change]).flatten().sort(descending=True, stable=True).indices
        budget = max(per_frame, rounded(self.retain, len(tokens)))
        return tokens.keep(ranked[:budget].sort().values)
