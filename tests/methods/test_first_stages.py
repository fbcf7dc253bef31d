"""First stages on small cases computed by hand from the formulas of their papers."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.holitom import density_peaks, segment
from dycoke_cli.methods.kmeans import cluster, find_medoids, rotate
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.prumerge import choose
from dycoke_cli.methods.vidcom2 import similarities
from dycoke_cli.tokens import VisualTokens, sum_by_group

A, B, C = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]


def video(*frames: list[list[float]], saliency: list[list[float]] | None = None) -> VisualTokens:
    """Return the tokens of frames with one row each."""
    features = torch.tensor(frames)[:, None]
    return VisualTokens.uncompressed(features, None if saliency is None else torch.tensor(saliency)[:, None])


def at(degrees: float, length: float = 1.0) -> list[float]:
    return [length * math.cos(math.radians(degrees)), length * math.sin(math.radians(degrees))]


def test_merging_is_a_weighted_mean_and_keeps_unmerged_tokens() -> None:
    """1 merges into 0 with three times its weight, 2 is unchanged, 3 is dropped; weights of 0 count as equal."""
    tokens = video([A, B, [0.1, 0.7], C], saliency=[[1.0, 3.0, 0.0, 5.0]])
    kept, into = torch.tensor([0, 2]), torch.tensor([0, 0, 2, -1])
    merged = tokens.merge(kept, into, tokens.saliency)
    assert torch.equal(merged.features, torch.tensor([[0.25, 0.75], [0.1, 0.7]]))
    assert merged.survivor.tolist() == [0, 0, 2, -1]
    assert torch.equal(tokens.merge(kept, into).features[0], torch.tensor([0.5, 0.5]))
    assert torch.equal(tokens.merge(kept, into, torch.zeros(4)).features[0], torch.tensor([0.5, 0.5]))


def test_sums_by_group() -> None:
    """Rows in any order, with a group of one row and a group of none."""
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert sum_by_group(values, torch.tensor([3, 0, 3]), 4).tolist() == [[3, 4], [0, 0], [0, 0], [6, 8]]
    assert sum_by_group(values[:, 0], torch.tensor([1, 1, 1]), 2).tolist() == [0, 9]


def test_merging_twice_keeps_track() -> None:
    """A token merged into one that is later merged or dropped follows it."""
    tokens = video([A, A, B, B])
    once = tokens.merge(torch.tensor([0, 2]), torch.tensor([0, 0, 2, 2]))
    assert once.merge(torch.tensor([1]), torch.tensor([1, 1])).survivor.tolist() == [2, 2, 2, 2]
    assert once.keep(torch.tensor([0])).survivor.tolist() == [0, 0, -1, -1]


def test_evs() -> None:
    """1 - cosine to the frame before: 0 and 0.2 in the second frame, 1 and 0 in the third; the first is kept."""
    tokens = video([A, B], [A, C], [B, C])
    assert make_method("evs", {"retain": "0.5"}).compress(tokens).index.tolist() == [0, 1, 4]
    assert make_method("evs", {"retain": "0.667"}).compress(tokens).index.tolist() == [0, 1, 3, 4]
    assert make_method("evs", {"retain": "0.833"}).compress(tokens).index.tolist() == [0, 1, 2, 3, 4]
    assert make_method("evs", {"retain": "0.01"}).compress(tokens).index.tolist() == [0, 1]


# Only the two channels with the lowest variance are compared; the other two are ignored.
NOISE = [[5.0, -5.0], [-5.0, 5.0], [5.0, 5.0], [-5.0, -5.0]]
UNUSUAL = video([A + NOISE[0], A + NOISE[1]], [A + NOISE[2], B + NOISE[3]])


def kernel(squared: float) -> float:
    return sum(math.exp(-squared / (2 * width)) for width in (1 / 8, 1 / 4, 1 / 2, 1, 2))


def test_vidcom2_similarities() -> None:
    """Means are (3/4, 1/4) over the video, A and (1/2, 1/2) in the frames; similarity sums five Gaussians."""
    to_video, to_frame = similarities(UNUSUAL.by_frame())
    near, far = kernel(1 / 8), kernel(9 / 8)
    torch.testing.assert_close(to_video, torch.tensor([[near, near], [near, far]]))
    torch.testing.assert_close(to_frame, torch.tensor([[5.0, 5.0], [kernel(1 / 2)] * 2]))


def test_vidcom2_budgets() -> None:
    """At 0.01 the second frame has all of u: weights 1/2 and 3/2. Three tokens: 0.75 and 2.25, limited to two."""
    expected = {"0.25": [3], "0.5": [0, 3], "0.75": [0, 2, 3]}
    for retain, kept in expected.items():
        assert make_method("vidcom2", {"retain": retain}).compress(UNUSUAL).index.tolist() == kept
    # At a high temperature weights are nearly equal: three tokens are 1.5 each, slightly more for the unusual frame.
    warm = {"temperature": "1e3"}
    assert make_method("vidcom2", {"retain": "0.5", **warm}).compress(UNUSUAL).index.tolist() == [0, 3]
    assert make_method("vidcom2", {"retain": "0.75", **warm}).compress(UNUSUAL).index.tolist() == [0, 2, 3]


def test_kmeans() -> None:
    """Centres start at 0° and 20°; 90° moves the second, 20° changes cluster; 10° is the medoid of 0°, 10°, 20°."""
    tokens = video([at(0, 1), at(10, 2), at(20, 3), at(90, 4)])
    merged = make_method("kmeans", {"retain": "0.5"}).compress(tokens)
    assert merged.survivor.tolist() == [1, 1, 1, 3]
    torch.testing.assert_close(merged.features, torch.stack([tokens.features[:3].mean(0), tokens.features[3]]))


def test_kmeans_fills_empty_clusters() -> None:
    """Four equal tokens in three clusters: no cluster is empty, and each medoid is in its own cluster."""
    owner, fit = cluster(F.normalize(torch.ones(4, 2), dim=-1), 3, 10)
    assert sorted(torch.bincount(owner).tolist()) == [1, 1, 2]
    assert sorted(owner[find_medoids(owner, fit, 3)].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("still", [False, True])
def test_kmeans_keeps_the_same_tokens_in_whatever_order_sums_are_made(still: bool) -> None:
    """Permuted channels change the summation order, as a GPU does, but not the kept tokens: 600 tokens, 300 clusters.

    Half of the clusters have two tokens, which are equally similar to their mean up to rounding errors.
    """
    generator = torch.Generator().manual_seed(3)
    units = F.normalize(torch.randn(600, 1000, generator=generator).double(), dim=-1)
    if still:
        units = F.normalize(units[:60].repeat(10, 1) + 1e-6 * units, dim=-1)
    owner, fit = cluster(units, 300, 10)
    for _ in range(4):
        other_owner, other_fit = cluster(units[:, torch.randperm(1000, generator=generator)].contiguous(), 300, 10)
        assert torch.equal(other_owner, owner)
        assert torch.equal(find_medoids(other_owner, other_fit, 300), find_medoids(owner, fit, 300))


def test_kmeans_takes_the_first_of_equal_medoids() -> None:
    """Of two tokens that are equally similar to their mean, the first is the medoid."""
    tokens = video([at(0, 1), at(20, 2), at(90, 3), at(110, 4)])
    assert make_method("kmeans", {"retain": "0.5"}).compress(tokens).survivor.tolist() == [0, 0, 2, 2]


def test_kmeans_encodes_positions() -> None:
    """Six channels, one pair per coordinate, rotated by one radian per step; similarity depends only on the offset."""
    units = F.normalize(torch.tensor([[1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0]], dtype=torch.float64), dim=-1)
    turned = rotate(units, torch.tensor([[1, 3], [0, 0], [2, 1]]))
    c, s = math.cos, math.sin
    torch.testing.assert_close(turned[0] * 3**0.5, torch.tensor([c(1), s(1), 1, 0, c(2), s(2)], dtype=torch.float64))
    assert float(turned[0] @ turned[1]) == pytest.approx((c(2) + 1 + c(1)) / 3)


def test_prumerge_chooses_outliers_and_a_stride() -> None:
    """Quartiles 0.1 and 0.1: only 0.9 is an outlier. Of the seven others the stride selects the first and fourth."""
    attention = torch.tensor([0.1] * 5 + [0.9] + [0.1] * 2)
    assert choose(attention, 3).tolist() == [0, 3, 5]
    assert choose(attention, 1).tolist() == [5]
    assert choose(attention, 8).tolist() == list(range(8))
    # Quartiles 0.15 and 0.25 give a bound of 0.4: two outliers, of which the greater one is kept first.
    two = torch.tensor([0.1, 0.2, 0.2, 0.8, 0.2, 0.9, 0.2, 0.2, 0.1])
    assert choose(two, 1).tolist() == [5]
    assert choose(two, 2).tolist() == [3, 5]


def test_prumerge_merges_by_attention() -> None:
    """Dropped tokens merge into the most similar kept token, weighted by attention."""
    tokens = video([A, A, B, B, A, B], saliency=[[0.1, 0.1, 0.1, 0.1, 0.3, 0.1]])
    # Quartiles 0.1: token 4 is the outlier; of 0, 1, 2, 3, 5 a stride of one takes 0.
    merged = make_method("prumerge", {"retain": "0.333"}).compress(tokens)
    assert merged.survivor.tolist() == [0, 0, 0, 0, 4, 0]
    torch.testing.assert_close(merged.features, torch.tensor([[0.4, 0.6], [1.0, 0.0]]))


def test_visionzip() -> None:
    """Two dominant tokens are unchanged; of the other four the first and third are contextual, at steps of two."""
    tokens = video([A, B, C, A, at(10), B], saliency=[[0.1, 0.9, 0.1, 0.8, 0.1, 0.1]])
    merged = make_method("visionzip", {"retain": "0.667", "contextual": "0.5"}).compress(tokens)
    # Rest: A, C, 10°, B. Targets A and 10°: C (53°) and B (90°) are nearer to 10°.
    assert merged.survivor.tolist() == [0, 1, 4, 3, 4, 4]
    mean = (tokens.features[2] + tokens.features[4] + tokens.features[5]) / 3
    torch.testing.assert_close(
        merged.features, torch.stack([torch.tensor(A), torch.tensor(B), torch.tensor(A), mean])[[0, 1, 2, 3]]
    )
    dropped = make_method("visionzip", {"retain": "0.667", "contextual": "0"}).compress(tokens)
    assert dropped.survivor.tolist() == [0, 1, 2, 3, -1, -1]


def test_density_peaks() -> None:
    """0 and 0.1 are denser than 5 and 5.2; the first of each pair is far from all denser tokens."""
    peaks, nearest = density_peaks(torch.tensor([[0.0], [0.1], [5.0], [5.2]]), 2, 7)
    assert peaks.tolist() == [0, 2]
    assert nearest.tolist() == [0, 0, 1, 1]


# Position 0 changes by 25° and then 15° (cosine 0.91 and 0.97), position 1 by 90° each time.
STILL = video([at(0), A], [at(25), B], [at(40), A], saliency=[[0.1, 0.2]] * 3)


def test_holitom_merges_still_positions() -> None:
    """One segment removes two tokens: position 0 becomes the mean of its three, and four tokens remain."""
    merged = make_method("holitom", {"retain": "0.667"}).compress(STILL)
    assert merged.survivor.tolist() == [0, 1, 0, 3, 0, 5]
    torch.testing.assert_close(merged.features[0], STILL.features[[0, 2, 4]].mean(0))
    # Two tokens for four equal groups: the earlier two.
    assert make_method("holitom", {"retain": "0.333"}).compress(STILL).index.tolist() == [0, 1]


def test_holitom_raises_tau_where_the_budget_asks_for_more() -> None:
    """With a budget of five of six tokens, only the more similar pair of position 0 merges."""
    merged = make_method("holitom", {"retain": "0.833"}).compress(STILL)
    assert merged.survivor.tolist() == [0, 1, 2, 3, 2, 5]


def test_holitom_weighs_density_peaks() -> None:
    """Two frames, four still positions, one peak: weight beta for itself, the rest equally for the other three."""
    places = [at(0), at(3), at(6), at(9)]
    tokens = video(places, places, saliency=[[0.1] * 4] * 2)
    merged = make_method("holitom", {"retain": "0.125", "beta": "0.6"}).compress(tokens)
    (peak,) = merged.index.tolist()
    others = [place for place in range(4) if place != peak]
    wanted = 0.6 * tokens.features[peak] + 0.4 * tokens.features[others].mean(0)
    torch.testing.assert_close(merged.features[0], wanted)
    assert merged.survivor.tolist() == [peak] * 8


@pytest.mark.parametrize("seed", range(6))
def test_holitom_finds_the_best_segments(seed: int) -> None:
    """The segments remove as many tokens as the best of all ways to split six frames."""
    similarity = torch.rand(5, 7, generator=torch.Generator().manual_seed(seed)) ** 0.3

    def removed(cuts: list[tuple[int, int]]) -> int:
        return sum(int((similarity[a:b] > 0.8).all(dim=0).sum()) * (b - a) for a, b in cuts if b > a)

    def removed_by(bits: int) -> int:
        starts = [0, *(frame for frame in range(1, 6) if bits >> frame & 1), 6]
        return removed([(a, b - 1) for a, b in pairwise(starts)])

    segments, still = segment(similarity, 0.8, most=999)
    assert torch.equal(still, similarity > 0.8)
    assert [frame for a, b in segments for frame in range(a, b + 1)] == list(range(6))
    assert removed(segments) == max(removed_by(bits) for bits in range(0, 64, 2))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("vidcom2", "temperature", "0"),
        ("kmeans", "rounds", "0"),
        ("visionzip", "contextual", "1.5"),
        ("holitom", "tau", "2"),
        ("holitom", "beta", "-1"),
        ("holitom", "neighbours", "0"),
        ("evs", "retain", "1.1"),
    ],
)
def test_values_outside_their_range_are_refused(name: str, option: str, value: str) -> None:
    """The message names method, option and value."""
    with pytest.raises(UsageError, match=f"{name} option {option}={float(value):g}") as caught:
        make_method(name, {option: value})
    assert option in caught.value.remedy


def test_a_first_stage_must_come_first() -> None:
    """Tokens that are already compressed raise ValueError, as do tokens without a required saliency."""
    fewer = STILL.keep(torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="4 tokens are missing"):
        make_method("evs", {}).compress(fewer)
    with pytest.raises(ValueError, match="no saliency"):
        make_method("visionzip", {}).compress(video([A, B]))
