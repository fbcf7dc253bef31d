"""HoliTom's outer stage: merge still positions over time, then keep tokens by attention and by density.

Source: Shao et al., "HoliTom: Holistic Token Merging for Fast Video Large Language Models", NeurIPS 2025,
arXiv 2505.21334; constants as in the released code. The inner stage, merging inside the language model, is missing.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.methods.budget import apportion, rounded
from dycoke_cli.methods.first_stage import FirstStage
from dycoke_cli.methods.ranges import Count, Share, Similarity
from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Holitom(FirstStage):
    """Split the video into segments, merge still positions over time, and divide the budget evenly among the rest.

    A position is still in a segment if its cosine similarity between all successive frames is above tau. It merges into
    one token of the segment's first frame, the mean over the segment. Segments are chosen so that most tokens merge.
    Of each segment's still tokens the density peaks are kept, and the others merge into the nearest peak. Of each
    frame's moving tokens the most attended are kept, and the others are dropped.

    Choices of this implementation: if merging over time alone would leave fewer tokens than the budget, tau is raised
    until the budget is met. Ties in density are resolved by position, where the released code adds noise.

    tau: cosine similarity above which a position is still, -1 to 1.
    beta: weight of a density peak in the mean with the tokens that merge into it, 0 to 1.
    neighbours: number of nearest tokens, itself included, that determine a token's density, at least 1.
    """

    name = "holitom"
    source = "Shao et al., NeurIPS 2025, arXiv 2505.21334"
    needs_saliency = True

    tau: Similarity = 0.8
    beta: Share = 0.6
    neighbours: Count = 7

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Split into segments, separate still from moving tokens, divide the budget, merge."""
        features, saliency = tokens.by_frame().float(), tokens.saliency_by_frame()
        frames, per_frame = features.shape[:2]
        budget = rounded(self.retain, len(tokens))
        similarity = F.cosine_similarity(features[1:], features[:-1], dim=-1)
        segments, still = segment(similarity, self.tau, frames * per_frame - budget)
        groups = [group for first, last in segments for group in _groups(first, last, still)]
        sizes = [len(group.places) for group in groups]
        merged_into = torch.full((frames, per_frame), -1, device=features.device)
        weights = torch.ones(frames, per_frame, device=features.device)
        for group, count in zip(groups, apportion(budget, sizes, sizes), strict=True):
            if count and group.still:
                self._merge_still(features, group, count, merged_into, weights)
            elif count:
                ranked = saliency[group.first, group.places].sort(descending=True, stable=True).indices
                kept = group.places[ranked[:count]]
                merged_into[group.first, kept] = group.first * per_frame + kept
        flat = merged_into.flatten()
        return tokens.merge(flat[flat >= 0].unique(), flat, weights.flatten())

    def _merge_still(self, features: Tensor, group: "Group", count: int, merged_into: Tensor, weights: Tensor) -> None:
        """Merge the still tokens of one segment over time and then into `count` density peaks."""
        rows = slice(group.first, group.last + 1)
        means = features[rows, group.places].mean(dim=0)
        peaks, nearest = density_peaks(means, count, self.neighbours)
        members = torch.bincount(nearest, minlength=count) - 1  # tokens that merge into each peak, without itself
        shares = torch.where(members > 0, (1 - self.beta) / members.clamp(min=1), 0.0)[nearest]
        shares[peaks] = torch.where(members > 0, self.beta, 1.0)
        merged_into[rows, group.places] = group.first * features.shape[1] + group.places[peaks[nearest]]
        weights[rows, group.places] = shares


class Group(NamedTuple):
    """Tokens that share one part of the budget: a segment's still positions, or one frame's moving positions."""

    first: int  # frame number
    last: int  # frame number; equal to `first` if moving
    places: Tensor  # (places,) int64, positions within a frame
    still: bool


def segment(similarity: Tensor, tau: float, most: int) -> tuple[list[tuple[int, int]], Tensor]:
    """Split a video into the segments whose merging over time removes most tokens, but at most `most`.

    similarity: (frames - 1, per_frame), cosine similarity of each position to the frame before. The threshold is the
    lowest one from `tau` on that removes at most `most`. Returns the first and last frame of every segment, and which
    positions are still, (frames - 1, per_frame) bool.
    """
    higher = similarity[similarity > tau].unique()
    thresholds = [tau, *higher.tolist()]
    low, high = 0, len(thresholds) - 1  # no similarity is above the last one, so it removes nothing
    while low < high:
        middle = (low + high) // 2
        if _best_segments(similarity > thresholds[middle])[1] <= most:
            high = middle
        else:
            low = middle + 1
    still = similarity > thresholds[low]
    return _best_segments(still)[0], still


def _best_segments(still: Tensor) -> tuple[list[tuple[int, int]], int]:
    """Return the segments that remove most tokens, by dynamic programming, and the number removed."""
    steps = len(still)
    best, start = [0], [0]  # per last frame: tokens removed up to it, first frame of its segment
    gains = [still[first:].cumprod(dim=0).sum(dim=1).tolist() for first in range(steps)]
    for last in range(1, steps + 1):
        most, begin = best[-1], last
        for first in range(last - 1, -1, -1):
            removed = gains[first][last - 1 - first] * (last - first)
            removed += best[first - 1] if first else 0
            if removed > most:
                most, begin = removed, first
        best.append(most)
        start.append(begin)
    segments, last = [], steps
    while last >= 0:
        segments.append((start[last], last))
        last = start[last] - 1
    return segments[::-1], best[-1]


def _groups(first: int, last: int, still: Tensor) -> list[Group]:
    """Divide a segment into one group of still positions and one group of moving positions for each frame."""
    constant = still[first:last].all(dim=0) & (last > first)  # no position of a single frame is still
    moving = (~constant).nonzero().squeeze(1)
    groups = [Group(frame, frame, moving, False) for frame in range(first, last + 1)]
    return [Group(first, last, constant.nonzero().squeeze(1), True), *groups]


def density_peaks(features: Tensor, count: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return `count` density peaks, dense tokens far from every denser one, and the nearest peak of each token.

    features: (tokens, hidden) float32. Density is exp(-mean squared distance to the nearest tokens, itself included);
    distances are divided by sqrt(hidden). Returns peaks (count,) int64, increasing, and (tokens,) int64, the index into
    the peaks for each token.
    """
    distance = torch.cdist(features, features) / math.sqrt(features.shape[1])
    near = distance.topk(min(neighbours, count), dim=1, largest=False).values
    density = (-near.square().mean(dim=1)).exp()
    ranked = density.sort(descending=True, stable=True).indices
    rank = torch.empty_like(ranked).scatter_(0, ranked, torch.arange(len(ranked), device=ranked.device))
    denser = rank[None, :] < rank[:, None]
    separation = torch.where(denser, distance, distance.max()).amin(dim=1)
    peaks = (separation * density).sort(descending=True, stable=True).indices[:count].sort().values
    nearest = distance[:, peaks].argmin(dim=1)
    return peaks, nearest.scatter(0, peaks, torch.arange(count, device=peaks.device))
