"""Temporal token merging (TTM), the first stage of DyCoke: which tokens of neighbouring frames merge.

Source: Tao et al., CVPR 2025, arXiv 2411.15024.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

WINDOW = 4  # frames per merging window
SMALLEST_NORM = 1e-8  # a vector of zeros has a cosine similarity of 0


class Merging(NamedTuple):
    """Which tokens of a video remain, and which of them each token merges into."""

    kept: Tensor  # (tokens,) int64, in raster order
    merged_into: Tensor  # (frames * per_frame,) int64, the token's own index if it is kept


def merge_windows(features: Tensor, k: float) -> Merging:
    """Choose the tokens that merge: those most similar to the token at the same position of an earlier frame.

    features: (frames, per_frame, hidden), uncompressed. Frames form windows of four, f0 f1 f2 f3; the last window may
    be shorter. f1 is compared with f0, f2 with f0, and f3 with f2, by cosine similarity at the same position; the most
    similar round(k * per_frame) tokens of each frame merge into the frame it is compared with.
    """
    frames, per_frame = features.shape[:2]
    own = torch.arange(frames * per_frame, device=features.device).unflatten(0, (frames, per_frame))
    merged_into = own.clone()
    merges = math.floor(k * per_frame + 0.5)
    unit = features.to(torch.float32, copy=True)
    unit /= torch.linalg.vector_norm(unit, dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)
    # f2 first: a token of f3 whose counterpart in f2 is merged must merge into f0.
    for offset, back in ((2, 2), (1, 1), (3, 1)):
        later, earlier = slice(offset, frames, WINDOW), slice(offset - back, max(frames - back, 0), WINDOW)
        similarity = (unit[later] * unit[earlier]).sum(dim=-1)
        places = similarity.sort(dim=-1, descending=True, stable=True).indices[:, :merges]
        merged_into[later].scatter_(1, places, merged_into[earlier].gather(1, places))
    # The number of kept tokens is known without reading the device's memory: sorting puts them before all others.
    whole = math.ceil(frames / WINDOW)
    count = whole * per_frame + (frames - whole) * (per_frame - merges)
    kept = own.masked_fill(merged_into != own, own.numel()).flatten().sort().values[:count]
    return Merging(kept, merged_into.flatten())
