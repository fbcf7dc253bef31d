"""Spherical k-means over the whole video, with each token's position encoded into its feature.

Source: the SimpleCluster preprint (2026), implemented from a description; neither its text nor code was available.
Choices of this implementation: base 10,000 for the rotary frequencies; initial centres evenly spaced in raster order;
at most ten rounds; an empty cluster takes the token with the lowest similarity to its centre.

A CPU and a GPU add the terms of a float32 product in different orders, and one different assignment changes centres and
every later assignment. To select the same tokens on both, float32 near-ties are resolved in float64, and float64
near-ties in favour of the first.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.methods.budget import rounded
from dycoke_cli.methods.first_stage import FirstStage
from dycoke_cli.methods.ranges import Count
from dycoke_cli.tokens import VisualTokens, sum_by_group

BASE = 10_000.0
ROWS = 1024  # tokens per float64 block of similarities to all centres; bounds memory
CLOSE = 1e-5  # float32 cosine similarities closer than this may swap with the summation order
EQUAL = 2.0**-30  # float64 similarities closer than this are equal: rounding errors are smaller


@dataclass(frozen=True)
class Kmeans(FirstStage):
    """Group all tokens of the video into as many clusters as the budget has tokens, and keep the mean of each.

    Tokens are compared by cosine similarity of their features after a rotary embedding of frame, row and column, a
    third of the channels each. The mean is over the original features. It is placed at the cluster's medoid, the token
    most similar to its centre.

    rounds: maximum number of centre updates, at least 1.
    """

    name = "kmeans"
    source = "SimpleCluster preprint, 2026, from a description"

    rounds: Count = 10

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Cluster all tokens and merge each cluster into its medoid."""
        count = rounded(self.retain, len(tokens))
        if count == len(tokens):
            return tokens
        units = F.normalize(tokens.by_frame().flatten(0, 1).double(), dim=-1)
        units = rotate(units, torch.stack([tokens.frame, tokens.row, tokens.col]))
        owner, fit = cluster(units, count, self.rounds)
        medoids = find_medoids(owner, fit, count)
        return tokens.merge(medoids.sort().values, medoids[owner])


def rotate(units: Tensor, places: Tensor) -> Tensor:
    """Apply a rotary embedding: rotate each third of the channels by the angles of one coordinate.

    units: (tokens, hidden) float64; places: (3, tokens). Channel i of the first half of a third pairs with channel
    i of its second half; the remainder of hidden modulo six is unchanged.
    """
    half = units.shape[1] // 6
    if half == 0:
        return units
    frequency = BASE ** (-torch.arange(half, device=units.device, dtype=torch.float64) / half)
    rotated = []
    for axis, place in enumerate(places):
        first, second = units[:, 2 * half * axis : 2 * half * (axis + 1)].split(half, dim=1)
        angle = place[:, None] * frequency
        rotated += [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()]
    return torch.cat([*rotated, units[:, 6 * half :]], dim=1)


def cluster(units: Tensor, count: int, rounds: int) -> tuple[Tensor, Tensor]:
    """Assign unit vectors (tokens, hidden) float64 to `count` non-empty clusters.

    Returns the cluster of each token, (tokens,) int64, and its cosine similarity to the centre, (tokens,) float64,
    rounded to a multiple of EQUAL.
    """
    centres = units[torch.arange(count, device=units.device) * len(units) // count]
    owner = nearest(units, centres)
    for _ in range(rounds):
        sums = sum_by_group(units, owner, count)
        used = torch.bincount(owner, minlength=count) > 0
        centres = torch.where(used[:, None], F.normalize(sums, dim=-1), centres)
        before, owner = owner, nearest(units, centres)
        if torch.equal(owner, before):
            break
    fit = _rounded((units * centres[owner]).sum(dim=1))
    return _fill_empty(owner, fit, count), fit


def nearest(units: Tensor, centres: Tensor) -> Tensor:
    """Return the most similar centre of each unit vector, the first of equal ones.

    units: (tokens, hidden) float64; centres: (clusters, hidden) float64. Returns (tokens,) int64.
    """
    similarity = units.float() @ centres.float().T
    owner = similarity.argmax(dim=1)
    best = similarity.gather(1, owner[:, None])
    ambiguous = ((similarity > best - CLOSE).sum(dim=1) > 1).nonzero()[:, 0]
    for rows in ambiguous.split(ROWS):
        owner[rows] = _rounded(units[rows] @ centres.T).argmax(dim=1)
    return owner


def _rounded(similarity: Tensor) -> Tensor:
    return (similarity / EQUAL).round() * EQUAL


def _fill_empty(owner: Tensor, fit: Tensor, count: int) -> Tensor:
    """Move into every empty cluster the worst-fitting token of a cluster with several tokens."""
    sizes = torch.bincount(owner, minlength=count).tolist()
    empty = [number for number, size in enumerate(sizes) if size == 0]
    owners = owner.tolist()
    for token in fit.sort(stable=True).indices.tolist() if empty else ():
        if not empty:
            break
        if sizes[owners[token]] > 1:
            sizes[owners[token]] -= 1
            owners[token] = empty.pop(0)
    return torch.tensor(owners, device=owner.device)


def find_medoids(owner: Tensor, fit: Tensor, count: int) -> Tensor:
    """Return the best-fitting token of every cluster: (count,) int64."""
    best_first = fit.sort(descending=True, stable=True).indices
    by_cluster = best_first[owner[best_first].sort(stable=True).indices]
    sizes = torch.bincount(owner, minlength=count)
    return by_cluster[sizes.cumsum(0) - sizes]
