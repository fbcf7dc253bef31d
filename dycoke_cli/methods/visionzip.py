"""VisionZip: keep the most attended tokens, and merge the rest into a few contextual tokens.

Source: Yang et al., "VisionZip: Longer is Better but Not Necessary in Vision Language Models", CVPR 2025,
arXiv 2412.04467.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.first_stage import FirstStage, nearest_kept
from dycoke_cli.methods.ranges import Share
from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Visionzip(FirstStage):
    """Keep in each frame the tokens that the vision tower attends to most; merge the others into evenly spaced ones.

    Such a contextual token is the unweighted mean of itself and the tokens most similar to it.

    Choices of this implementation: similarity is cosine similarity of the features; the paper compares keys of the
    tower, before pooling and projection. For SigLIP attention is the mean over queries, as there is no class token.

    contextual: share of the kept tokens that are contextual, 0 to 1; 10 of 64 as in the paper. With 0 all tokens that
        are not kept are dropped.
    """

    name = "visionzip"
    source = "Yang et al., CVPR 2025, arXiv 2412.04467"
    needs_saliency = True

    contextual: Share = 0.15625

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Select and merge within each frame."""
        features, saliency = tokens.by_frame(), tokens.saliency_by_frame()
        per_frame = features.shape[1]
        count = rounded(self.retain, per_frame)
        contextual = math.floor(self.contextual * count + 0.5)
        kept, merged_into = [], []
        for frame, (feature, attention) in enumerate(zip(features, saliency, strict=True)):
            dominant, rest = split(attention, count - contextual)
            target = rest[torch.arange(contextual, device=rest.device) * max(1, len(rest) // max(1, contextual))]
            into = rest.new_full((per_frame,), -1)
            into[dominant] = frame * per_frame + dominant
            if contextual:
                into[rest] = frame * per_frame + nearest_kept(feature, target)[rest]
            kept.append(frame * per_frame + torch.cat([dominant, target]).sort().values)
            merged_into.append(into)
        return tokens.merge(torch.cat(kept), torch.cat(merged_into))


def split(attention: Tensor, dominant: int) -> tuple[Tensor, Tensor]:
    """Split the tokens of one frame into the `dominant` most attended ones and the rest, both in raster order."""
    ranked = attention.sort(descending=True, stable=True).indices
    return ranked[:dominant].sort().values, ranked[dominant:].sort().values
