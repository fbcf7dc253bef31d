"""DyCoke's two stages on cases small enough to do by hand, and at the ends of their ranges."""

import math

import pytest
import torch

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.dycoke import Dycoke, merge_windows
from dycoke_cli.methods.dynamic import DynamicSelector
from dycoke_cli.methods.options import make_method, method_options
from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.tokens import VisualTokens

A, B, C = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]


def clip(*frames: list[list[float]]) -> torch.Tensor:
    return torch.tensor(frames)


def test_one_window_by_hand() -> None:
    """f1 merges where it equals f0, f2 where it equals f0, f3 where it equals f2, though that token of f2 is gone."""
    features = clip([A, A], [A, B], [A, B], [B, B])
    # Half of two tokens is one merge a frame: f1's first and f2's first into f0; f3's second (like f2's second).
    assert merge_windows(features, 0.5).tolist() == [0, 1, 0, 3, 0, 5, 6, 5]


def test_merges_follow_a_token_that_is_itself_merged() -> None:
    """What f3 hands to a merged token of f2 ends at f0; nothing points to a token that is gone."""
    features = clip([A, B], [A, A], [A, A], [A, C])
    assert merge_windows(features, 0.5).tolist() == [0, 1, 0, 3, 0, 5, 0, 7]


def test_ties_merge_from_the_first_place_on() -> None:
    """Equal similarity is decided by place, so a run can be repeated anywhere."""
    assert merge_windows(clip([A, A, A, A], [B, B, B, B]), 0.5).tolist() == [0, 1, 2, 3, 0, 1, 6, 7]


@pytest.mark.parametrize("frames", range(1, 14))
@pytest.mark.parametrize("k", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_retention_is_the_papers(frames: int, k: float) -> None:
    """First frames of windows survive whole, all others keep (1 - k) of their tokens; no frame is lost before k=1."""
    per_frame = 11
    tokens = VisualTokens.whole(torch.randn(frames, 1, per_frame, 8, generator=torch.Generator().manual_seed(frames)))
    kept = Dycoke(k=k).compress(tokens)
    left = per_frame - math.floor(k * per_frame + 0.5)
    assert torch.bincount(kept.frame, minlength=frames).tolist() == [
        left if frame % 4 else per_frame for frame in range(frames)
    ]
    assert kept.index.tolist() == sorted(kept.index.tolist())
    assert torch.equal(kept.features, tokens.features[kept.index])
    assert set(kept.survivor.tolist()) == set(kept.index.tolist())
    # A token stands for others at its own place in the frame, within its window, at most three frames on.
    merged = torch.arange(len(tokens)) - kept.survivor
    assert bool((merged % per_frame == 0).all())
    assert int(merged.max()) <= 3 * per_frame


def test_first_selection_takes_the_best_and_the_gate_holds_it() -> None:
    """The set stays while attention is similar to what chose it, not to the step before, and recalls afterwards."""
    selector = DynamicSelector(torch.tensor([4]), p=0.5, layer=3, gate=0.9)
    first = selector.select(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    assert (first.index.sort().values.tolist(), first.changed.tolist()) == ([[0, 1]], [True])
    drift = selector.select(torch.tensor([[0.35, 0.2, 0.3, 0.15]]))  # cosine 0.96 to the first
    assert (drift.index.sort().values.tolist(), drift.changed.tolist()) == ([[0, 1]], [False])
    # Cosine 0.90 to the drift, but 0.74 to the scores that chose: choose again.
    far = selector.select(torch.tensor([[0.3, 0.02, 0.45, 0.23]]))
    assert (far.index.sort().values.tolist(), far.changed.tolist()) == ([[0, 2]], [True])


def test_rows_of_a_batch_select_for_themselves() -> None:
    """Rows with fewer tokens keep their own share, and one row's change leaves the other's set alone."""
    selector = DynamicSelector(torch.tensor([4, 2]), p=0.5, layer=3, gate=0.9)
    selector.select(torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.9, 0.0, 0.0]]))
    second = selector.select(torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.1, 0.9, 0.0, 0.0]]))
    assert second.changed.tolist() == [True, False]
    assert second.valid is not None
    kept = [row[valid].sort().values.tolist() for row, valid in zip(second.index, second.valid, strict=True)]
    assert kept == [[2, 3], [1]]


def test_at_least_one_token_is_read() -> None:
    """p=1 leaves the best one."""
    selection = DynamicSelector(torch.tensor([5]), p=1.0, layer=0, gate=0.9).select(
        torch.tensor([[0.1, 0.2, 0.4, 0.2, 0.1]])
    )
    assert selection.index.tolist() == [[2]]


@pytest.mark.parametrize("layer", range(6))
def test_every_layer_but_those_beyond_the_last_is_accepted(layer: int) -> None:
    """L runs from 0 to the last layer."""
    Dycoke(l=layer).check(ModelFacts(6, "grid"))
    with pytest.raises(UsageError, match=f"l={layer + 6}"):
        Dycoke(l=layer + 6).check(ModelFacts(6, "grid"))


def test_official_refuses_where_the_released_code_has_no_behaviour() -> None:
    """Grid newlines and l=0 crash there; here they are refused before any work."""
    with pytest.raises(UsageError, match="grid"):
        Dycoke(variant="official").check(ModelFacts(6, "grid"))
    with pytest.raises(UsageError, match="l=0"):
        Dycoke(variant="official", l=0).check(ModelFacts(6, "one_token"))


@pytest.mark.parametrize(
    ("name", "options", "message", "remedy"),
    [
        ("dycok", {}, "'dycok'", "Did you mean 'dycoke'?"),
        ("dycoke", {"kk": "1"}, "'kk'", "Did you mean 'k'?"),
        ("dycoke", {"k": "much"}, "'much', not a number", "k=1"),
        ("dycoke", {"l": "2.5"}, "'2.5', not a whole number", "l=1"),
        ("dycoke", {"k": "1.5"}, "k=1.5 is not between 0 and 1", "k=0.7"),
        ("dycoke", {"p": "nan"}, "p=nan is not between 0 and 1", "p=0.7"),
        ("dycoke", {"l": "-1"}, "l=-1 is below 0", "l=3"),
        ("dycoke", {"variant": "offical"}, "'offical'", "paper, official"),
        ("full", {"k": "0.5"}, "no option 'k'", "full has no options"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, str], message: str, remedy: str) -> None:
    """What is wrong and which value, and what to do."""
    with pytest.raises(UsageError, match=message) as caught:
        make_method(name, options)
    assert remedy in caught.value.remedy


def test_options_are_typed_and_recorded() -> None:
    """Text becomes numbers, and the record shows every option, defaults too."""
    method = make_method("dycoke", {"k": "0.5", "l": "0"})
    assert method == Dycoke(k=0.5, l=0)
    assert method_options(method) == {
        "k": 0.5, "l": 0, "p": 0.7, "gate": 0.9, "variant": "paper", "positions": "packed", "select": "dynamic"
    }  # fmt: skip
