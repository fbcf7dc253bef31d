"""PruMerge+: keep attention outliers of the vision tower and an even sample; merge the others into them.

Source: Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models", ICCV 2025,
arXiv 2403.15388.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.first_stage import FirstStage, nearest_kept
from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Prumerge(FirstStage):
    """Keep in each frame the attention outliers and an even sample of the rest; the others merge into the nearest.

    Outliers receive more attention in the vision tower than Q3 + 1.5 (Q3 - Q1) of their frame. A kept token becomes
    the mean of itself and the dropped tokens nearest to it, weighted by their attention.

    Choices of this implementation: in the paper the number of outliers determines how many tokens are kept; here the
    budget does. Outliers are kept first, the most attended ones if the budget is too small for all, and the even sample
    fills the rest. The nearest token is by cosine similarity of the features, as pooled keys of the tower are not
    available. Weights are normalized, as in the paper's text; the released code adds unnormalized sums.
    """

    name = "prumerge"
    source = "Shang et al., ICCV 2025, arXiv 2403.15388"
    needs_saliency = True

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Select and merge within each frame."""
        features, saliency = tokens.by_frame(), tokens.saliency_by_frame()
        per_frame = features.shape[1]
        count = rounded(self.retain, per_frame)
        kept, merged_into = [], []
        for frame, (feature, attention) in enumerate(zip(features, saliency, strict=True)):
            chosen = choose(attention, count)
            kept.append(frame * per_frame + chosen)
            merged_into.append(frame * per_frame + nearest_kept(feature, chosen))
        return tokens.merge(torch.cat(kept), torch.cat(merged_into), tokens.saliency)


def choose(attention: Tensor, count: int) -> Tensor:
    """Return `count` tokens of one frame, outliers of `attention` (tokens,) first: (count,) int64, increasing."""
    low, high = torch.quantile(attention, torch.tensor([0.25, 0.75], device=attention.device))
    ranked = attention.sort(descending=True, stable=True).indices
    outliers = ranked[attention[ranked] > high + 1.5 * (high - low)][:count]
    others = torch.ones_like(attention, dtype=torch.bool).index_fill_(0, outliers, False).nonzero().squeeze(1)
    sampled = count - len(outliers)
    stride = torch.arange(sampled, device=others.device) * len(others) // max(sampled, 1)
    return torch.cat([outliers, others[stride]]).sort().values
