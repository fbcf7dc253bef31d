"""Spherical k-means over the whole video, with each token's place turned into its feature.

Source: the SimpleCluster preprint (2026), from a description of it; neither its text nor code was at hand. Taken here:
base 10,000 for the rotary frequencies; the first centres lie evenly spread in raster order; ten rounds at most; a
cluster that loses all its tokens gets the token that fits worst where it is.

A CPU and a GPU add the terms of a float32 product in another order, and one choice made another way moves centres and
with them every later choice. So that both keep the same tokens, what float32 cannot tell apart is decided in float64,
and what float64 cannot tell apart either, in favour of what comes first.
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
ROWS = 1024  # tokens whose likeness to every centre is held in float64 at once
CLOSE = 1e-5  # cosine similarities nearer than this may change their order with the order of a float32 sum
EQUAL = 2.0**-30  # those nearer than this count as equal: float64 sums differ by less, whatever their order


@dataclass(frozen=True)
class Kmeans(FirstStage):
    """Group all tokens of the video into as many clusters as the budget has tokens, and keep the mean of each.

    Tokens are compared by cosine similarity of their features after a rotary embedding of frame, row and column, a
    third of the channels each. The mean is of the features as they were. It takes the place of the cluster's medoid,
    the token that is most like its centre.

    rounds: how often centres are moved at most, at least 1.
    """

    name = "kmeans"
    source = "SimpleCluster preprint, 2026, from a description"

    rounds: Count = 10

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Cluster and merge."""
        count = rounded(self.retain, len(tokens))
        if count == len(tokens):
            return tokens
        units = F.normalize(tokens.by_frame().flatten(0, 1).double(), dim=-1)
        units = rotate(units, torch.stack([tokens.frame, tokens.row, tokens.col]))
        owner, fit = cluster(units, count, self.rounds)
        medoids = find_medoids(owner, fit, count)
        return tokens.merge(medoids.sort().values, medoids[owner])


def rotate(units: Tensor, places: Tensor) -> Tensor:
    """Turn each third of the channels by the angles of one coordinate.

    units: (tokens, hidden) float64; places: (3, tokens). Channel i of the first half of a third pairs with channel
    i of its second half; channels that do not divide by six stay as they are.
    """
    half = units.shape[1] // 6
    if half == 0:
        return units
    frequency = BASE ** (-torch.arange(half, device=units.device, dtype=torch.float64) / half)
    turned = []
    for axis, place in enumerate(places):
        first, second = units[:, 2 * half * axis : 2 * half * (axis + 1)].split(half, dim=1)
        angle = place[:, None] * frequency
        turned += [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()]
    return torch.cat([*turned, units[:, 6 * half :]], dim=1)


def cluster(units: Tensor, count: int, rounds: int) -> tuple[Tensor, Tensor]:
    """Assign unit vectors (tokens, hidden) float64 to `count` clusters, none empty.

    Returns the cluster of each token (tokens,) int64, and its cosine similarity to the centre (tokens,) as a float64
    multiple of EQUAL.
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
    """Find the centre that each unit vector is most like, the first of equal ones.

    units: (tokens, hidden) float64; centres: (clusters, hidden) float64. Returns (tokens,) int64.
    """
    similarity = units.float() @ centres.float().T
    owner = similarity.argmax(dim=1)
    best = similarity.gather(1, owner[:, None])
    unsettled = ((similarity > best - CLOSE).sum(dim=1) > 1).nonzero()[:, 0]
    for some in unsettled.split(ROWS):
        owner[some] = _rounded(units[some] @ centres.T).argmax(dim=1)
    return owner


def _rounded(similarity: Tensor) -> Tensor:
    return (similarity / EQUAL).round() * EQUAL


def _fill_empty(owner: Tensor, fit: Tensor, count: int) -> Tensor:
    """Give every empty cluster the worst-fitting token of a cluster that can spare one."""
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
    """Name the best-fitting token of every cluster: (count,) int64."""
    best_first = fit.sort(descending=True, stable=True).indices
    by_cluster = best_first[owner[best_first].sort(stable=True).indices]
    sizes = torch.bincount(owner, minlength=count)
    return by_cluster[sizes.cumsum(0) - sizes]
