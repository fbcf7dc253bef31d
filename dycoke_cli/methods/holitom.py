"""HoliTom's outer stage: still places of a segment become one frame's, then attention and density thin what is left.

Source: Shao et al., "HoliTom: Holistic Token Merging for Fast Video Large Language Models", NeurIPS 2025,
arXiv 2505.21334; constants as in the released code. Its inner stage, merging inside the language model, is not here.
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
    """Cut the video into segments that merge most still tokens over time, then spend the budget evenly on the rest.

    A place is still in a segment where every step of one frame has a cosine similarity above tau. It becomes one token
    of the segment's first frame, the mean over its frames. Of each segment's still tokens the density peaks stay, and
    the others merge into the nearest one; of each frame's moving tokens the most attended stay, the others are dropped.

    Taken here: where merging over time alone would leave less than the budget, tau is raised until it does not, so
    that the budget is met. Equal densities are told apart by place, where the released code adds noise.

    tau: similarity above which a place is still, -1 to 1.
    beta: weight of a density peak in the mean with what merges into it, 0 to 1.
    neighbours: how many nearest tokens a token's density is measured by, itself included, at least 1.
    """

    name = "holitom"
    source = "Shao et al., NeurIPS 2025, arXiv 2505.21334"
    needs_saliency = True

    tau: Similarity = 0.8
    beta: Share = 0.6
    neighbours: Count = 7

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Segment, part still from moving, share out the budget, merge."""
        features, saliency = tokens.by_frame().float(), tokens.saliency_by_frame()
        frames, per_frame = features.shape[:2]
        budget = rounded(self.retain, len(tokens))
        likeness = F.cosine_similarity(features[1:], features[:-1], dim=-1)
        segments, still = segment(likeness, self.tau, frames * per_frame - budget)
        groups = [group for first, last in segments for group in _groups(first, last, still)]
        sizes = [len(group.places) for group in groups]
        merged_into = torch.full((frames, per_frame), -1, device=features.device)
        weights = torch.ones(frames, per_frame, device=features.device)
        for group, count in zip(groups, apportion(budget, sizes, sizes), strict=True):
            if count and group.still:
                self._merge_still(features, group, count, merged_into, weights)
            elif count:
                ranked = saliency[group.first, group.places].sort(descending=True, stable=True).indices
                stays = group.places[ranked[:count]]
                merged_into[group.first, stays] = group.first * per_frame + stays
        flat = merged_into.flatten()
        return tokens.merge(flat[flat >= 0].unique(), flat, weights.flatten())

    def _merge_still(self, features: Tensor, group: "Group", count: int, merged_into: Tensor, weights: Tensor) -> None:
        """Merge the still tokens of one segment over time and then into `count` density peaks."""
        rows = slice(group.first, group.last + 1)
        means = features[rows, group.places].mean(dim=0)
        peaks, nearest = density_peaks(means, count, self.neighbours)
        members = torch.bincount(nearest, minlength=count) - 1  # that a peak takes in
        shares = torch.where(members > 0, (1 - self.beta) / members.clamp(min=1), 0.0)[nearest]
        shares[peaks] = torch.where(members > 0, self.beta, 1.0)
        merged_into[rows, group.places] = group.first * features.shape[1] + group.places[peaks[nearest]]
        weights[rows, group.places] = shares


class Group(NamedTuple):
    """Tokens that share one part of the budget: a segment's still places, or a frame's moving ones."""

    first: int  # frame
    last: int  # frame; of moving ones the same
    places: Tensor  # (places,) int64 within a frame
    still: bool


def segment(likeness: Tensor, tau: float, most: int) -> tuple[list[tuple[int, int]], Tensor]:
    """Cut a video where merging still places over time removes most tokens, but no more than `most`.

    likeness: (frames - 1, per_frame), cosine similarity of each place to the frame before. Of all thresholds from `tau`
    on the lowest that removes few enough is used. Returns the first and last frame of every segment, and what is still
    (frames - 1, per_frame) bool.
    """
    higher = likeness[likeness > tau].unique()
    thresholds = [tau, *higher.tolist()]
    low, high = 0, len(thresholds) - 1  # nothing is above the last one: it removes nothing
    while low < high:
        middle = (low + high) // 2
        if _best_cut(likeness > thresholds[middle])[1] <= most:
            high = middle
        else:
            low = middle + 1
    still = likeness > thresholds[low]
    return _best_cut(still)[0], still


def _best_cut(still: Tensor) -> tuple[list[tuple[int, int]], int]:
    """Find the segments that remove most tokens, by dynamic programming, and how many they remove."""
    steps = len(still)
    best, start = [0], [0]  # with the frames up to each one: tokens removed, first frame of the last segment
    gains = [still[first:].cumprod(dim=0).sum(dim=1).tolist() for first in range(steps)]
    for last in range(1, steps + 1):
        most, begins = best[-1], last
        for first in range(last - 1, -1, -1):
            removed = gains[first][last - 1 - first] * (last - first)
            removed += best[first - 1] if first else 0
            if removed > most:
                most, begins = removed, first
        best.append(most)
        start.append(begins)
    segments, last = [], steps
    while last >= 0:
        segments.append((start[last], last))
        last = start[last] - 1
    return segments[::-1], best[-1]


def _groups(first: int, last: int, still: Tensor) -> list[Group]:
    """Part a segment into its still places and each frame's moving ones."""
    per_frame = still.shape[1]
    calm = still[first:last].all(dim=0) if last > first else torch.zeros(per_frame, dtype=torch.bool).to(still.device)
    moving = (~calm).nonzero().squeeze(1)
    groups = [Group(frame, frame, moving, False) for frame in range(first, last + 1)]
    return [Group(first, last, calm.nonzero().squeeze(1), True), *groups]


def density_peaks(features: Tensor, count: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """Find cluster centres by density peaks: dense tokens that are far from every denser one.

    features: (tokens, hidden) float32. Density is exp(-mean squared distance to the nearest tokens), itself among
    them; distances are divided by the root of hidden. Returns the peaks (count,) int64, increasing, and for each token
    the number of its nearest peak (tokens,) int64.
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
