"""Which kept token of a frame stands for each that is not kept."""

import torch.nn.functional as F
from torch import Tensor


def nearest_kept(features: Tensor, kept: Tensor) -> Tensor:
    """Name for each token of (tokens, hidden) the most similar kept one, for kept ones themselves: (tokens,) int64.

    kept: (kept,) int64, at least one. Similar means by cosine; of equals the first.
    """
    unit = F.normalize(features.float(), dim=-1)
    nearest = kept[(unit @ unit[kept].T).argmax(dim=1)]
    return nearest.scatter(0, kept, kept)
