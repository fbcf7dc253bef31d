"""DyCoke's two stages on small cases computed by hand, and at the ends of option ranges."""

import math

import pytest
import torch

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.dynamic import DynamicSelector
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.methods.temporal_merging import merge_windows
from dycoke_cli.tokens import VisualTokens

A, B, C = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]


def clip(*frames: list[list[float]]) -> torch.Tensor:
    return torch.tensor(frames)


def test_one_window_by_hand() -> None:
    """f1 and f2 merge where they equal f0, and f3 where it equals f2, even if that token of f2 is merged itself."""
    features = clip([A, A], [A, B], [A, B], [B, B])
    # Half of two tokens is one merge a frame: f1's first and f2's first into f0; f3's second (like f2's second).
    assert merge_windows(features, 0.5).merged_into.tolist() == [0, 1, 0, 3, 0, 5, 6, 5]


def test_merges_follow_a_token_that_is_itself_merged() -> None:
    """A token of f3 whose counterpart in f2 is merged merges into f0, never into a removed token."""
    features = clip([A, B], [A, A], [A, A], [A, C])
    assert merge_windows(features, 0.5).merged_into.tolist() == [0, 1, 0, 3, 0, 5, 0, 7]


def test_ties_merge_from_the_first_place_on() -> None:
    """Ties in similarity are resolved by position, so that runs are reproducible on every machine."""
    assert merge_windows(clip([A, A, A, A], [B, B, B, B]), 0.5).merged_into.tolist() == [0, 1, 2, 3, 0, 1, 6, 7]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [0.0, 0.3, 0.7, 1.0])
def test_windows_by_a_slow_loop(k: float, dtype: torch.dtype) -> None:
    """Kept and merged tokens are those of a loop over frames with `F.cosine_similarity`, with ties and zero vectors."""
    for frames in range(1, 10):
        features = torch.randn(frames, 13, 24, generator=torch.Generator().manual_seed(frames)).to(dtype)
        features[:, 3:6] = features[:1, 3:6]  # equal in all frames: ties
        features[-1, 7] = 0
        merged_into = torch.arange(frames * 13).reshape(frames, 13)
        for frame in (frame for offset in (1, 2, 3) for frame in range(offset, frames, 4)):
            earlier = frame - (2 if frame % 4 == 2 else 1)
            similarity = torch.cosine_similarity(features[frame].float(), features[earlier].float(), dim=-1)
            for place in similarity.sort(descending=True, stable=True).indices[: math.floor(k * 13 + 0.5)]:
                merged_into[frame, place] = merged_into[earlier, place]
        merging = merge_windows(features, k)
        assert merging.merged_into.tolist() == merged_into.flatten().tolist()
        assert merging.kept.tolist() == [
            token for token, into in enumerate(merged_into.flatten().tolist()) if token == into
        ]


@pytest.mark.parametrize("frames", range(1, 14))
@pytest.mark.parametrize("k", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_retention_is_the_papers(frames: int, k: float) -> None:
    """The first frame of each window is kept whole; all others keep (1 - k) of their tokens."""
    per_frame = 11
    tokens = VisualTokens.uncompressed(
        torch.randn(frames, 1, per_frame, 8, generator=torch.Generator().manual_seed(frames))
    )
    kept = Dycoke(k=k).compress(tokens)
    remaining = per_frame - math.floor(k * per_frame + 0.5)
    assert torch.bincount(kept.frame, minlength=frames).tolist() == [
        remaining if frame % 4 else per_frame for frame in range(frames)
    ]
    assert kept.index.tolist() == sorted(kept.index.tolist())
    assert torch.equal(kept.features, tokens.features[kept.index])
    assert set(kept.survivor.tolist()) == set(kept.index.tolist())
    # A token merges only with tokens at its own position in the frame, at most three frames later.
    merged = torch.arange(len(tokens)) - kept.survivor
    assert bool((merged % per_frame == 0).all())
    assert int(merged.max()) <= 3 * per_frame


def test_first_selection_takes_the_best_and_the_gate_holds_it() -> None:
    """The set is kept while scores are similar to those that selected it, not to the last step's, then reselected."""
    selector = DynamicSelector(torch.tensor([4]), p=0.5, layer=3, gate=0.9)
    first = selector.select(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    assert (first.index.sort().values.tolist(), first.changed.tolist()) == ([[0, 1]], [True])
    drift = selector.select(torch.tensor([[0.35, 0.2, 0.3, 0.15]]))  # cosine 0.96 to the first
    assert (drift.index.sort().values.tolist(), drift.changed.tolist()) == ([[0, 1]], [False])
    # Cosine 0.90 to the last step, but 0.74 to the scores that selected the set: select again.
    far = selector.select(torch.tensor([[0.3, 0.02, 0.45, 0.23]]))
    assert (far.index.sort().values.tolist(), far.changed.tolist()) == ([[0, 2]], [True])


def test_rows_of_a_batch_select_for_themselves() -> None:
    """Rows with fewer tokens keep their own share, and a new set in one row does not change the other row's."""
    selector = DynamicSelector(torch.tensor([4, 2]), p=0.5, layer=3, gate=0.9)
    selector.select(torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.9, 0.0, 0.0]]))
    second = selector.select(torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.1, 0.9, 0.0, 0.0]]))
    assert second.changed.tolist() == [True, False]
    assert second.valid is not None
    kept = [row[valid].sort().values.tolist() for row, valid in zip(second.index, second.valid, strict=True)]
    assert kept == [[2, 3], [1]]


def test_at_least_one_token_is_read() -> None:
    """With p=1 the best-scored token is read."""
    selection = DynamicSelector(torch.tensor([5]), p=1.0, layer=0, gate=0.9).select(
        torch.tensor([[0.1, 0.2, 0.4, 0.2, 0.1]])
    )
    assert selection.index.tolist() == [[2]]


@pytest.mark.parametrize("layer", range(6))
def test_every_layer_but_those_beyond_the_last_is_accepted(layer: int) -> None:
    """The option l is accepted from 0 to the last layer, and refused above."""
    Dycoke(l=layer).check(ModelFacts(6, "grid"))
    with pytest.raises(UsageError, match=f"l={layer + 6}"):
        Dycoke(l=layer + 6).check(ModelFacts(6, "grid"))


def test_official_refuses_where_the_released_code_has_no_behaviour() -> None:
    """Grid newlines and l=0, on which the released code crashes, raise UsageError."""
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
    """The message names the wrong value, the remedy the correct form."""
    with pytest.raises(UsageError, match=message) as caught:
        make_method(name, options)
    assert remedy in caught.value.remedy


def test_options_are_typed_and_recorded() -> None:
    """Text is parsed into numbers, and the record contains every option, including defaults."""
    method = make_method("dycoke", {"k": "0.5", "l": "0"})
    assert method == Dycoke(k=0.5, l=0)
    assert method.options() == {
        "k": 0.5, "l": 0, "p": 0.7, "gate": 0.9, "variant": "paper", "positions": "packed", "select": "dynamic"
    }  # fmt: skip
