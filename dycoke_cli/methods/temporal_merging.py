"""Temporal token merging (TTM), the first stage of DyCoke: which tokens of neighbouring frames merge.

Source: Tao et al., CVPR 2025, arXiv 2411.15024.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 4  # frames per merging window


def merge_windows(features: Tensor, k: float) -> Tensor:
    """Return for every token the index of the token it merges into: (frames * per_frame,) int64, its own if kept.

    features: (frames, per_frame, hidden), uncompressed. Frames form windows of four, f0 f1 f2 f3; the last window may
    be shorter. f1 is compared with f0, f2 with f0, and f3 with f2, by cosine similarity at the same position; the most
    similar round(k * per_frame) tokens of each frame merge into the frame it is compared with.
    """
    frames, per_frame = features.shape[:2]
    indices = torch.arange(frames * per_frame, device=features.device).unflatten(0, (frames, per_frame))
    merged_into = indices.clone()
    merges = math.floor(k * per_frame + 0.5)
    # f2 first: a token of f3 whose counterpart in f2 is merged must merge into f0.
    for offset, back in ((2, 2), (1, 1), (3, 1)):
        later = torch.tensor(range(offset, frames, WINDOW), dtype=torch.int64, device=features.device)
        similarity = F.cosine_similarity(features[later].float(), features[later - back].float(), dim=-1)
        places = similarity.sort(dim=-1, descending=True, stable=True).indices[:, :merges]
        merged_into[later[:, None], places] = merged_into[later[:, None] - back, places]
    return merged_into.flatten()
