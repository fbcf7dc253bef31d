"""Properties that hold for every method in METHODS and for chains of methods."""

from dataclasses import fields

import pytest
import torch

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.budget import apportion, with_retain
from dycoke_cli.methods.moments import BEFORE_PREFILL, EACH_STEP, IN_PREFILL
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.methods.registry import METHODS
from dycoke_cli.tokens import Grid
from tests.methods.conftest import Make

FACTS = ModelFacts(8, "one_token", saliency=True)
CHAINS = ["random+dynamic", "vidcom2+dynamic", "kmeans+dynamic", "full+dynamic"]
EVERY = [*METHODS, *CHAINS]
SHAPES = [
    (1, 1, 1),
    (1, 3, 3),
    (2, 3, 5),
    (3, 5, 5),
    (4, 2, 2),
    (5, 1, 7),
    (7, 4, 3),
    (8, 3, 3),
    (13, 2, 5),
    (16, 4, 4),
]
BUDGETS = [0.02, 0.1, 0.25, 1 / 3, 0.5, 0.62, 0.9, 0.99, 1.0]


def in_range(name: str, grid: Grid) -> list[Method]:
    """Return the method at every budget in its range."""
    low, high = make_method(name, {}).retain_range(FACTS, grid)
    budgets = sorted({low, high, *BUDGETS} - {0.0})
    return [with_retain(make_method(name, {}), r, FACTS, grid) for r in budgets if low <= r <= high]


def kept_by(method: Method, tokens: int, layers: int = FACTS.layers) -> float:
    """Return the mean over the layers of the tokens kept, if `tokens` tokens enter the prefill."""
    prefill_pruner = method.prefill_pruner()
    if prefill_pruner is None:
        return tokens
    kept = len(prefill_pruner.choose(torch.rand(tokens, generator=torch.Generator().manual_seed(1))))
    return (prefill_pruner.layer * tokens + (layers - prefill_pruner.layer) * kept) / layers


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("still", [False, True])
def test_budgets_are_met(name: str, shape: tuple[int, int, int], still: bool, make_tokens: Make) -> None:
    """Every budget in the range is met within one token a frame, and at least one token is kept."""
    tokens = make_tokens(*shape, still=still)
    low, high = make_method(name, {}).retain_range(FACTS, tokens.grid)
    for r in sorted({low, high, *BUDGETS} - {0.0}):
        if low <= r <= high:
            method = with_retain(make_method(name, {}), r, FACTS, tokens.grid)
            left = method.compress(tokens)
            assert len(left) > 0
            assert abs(kept_by(method, len(left)) - r * len(tokens)) <= tokens.grid.frames


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", SHAPES)
def test_kept_tokens_are_in_raster_order_and_their_own_survivors(
    name: str, shape: tuple[int, int, int], make_tokens: Make
) -> None:
    """Indices strictly increase, and every token is kept, merged into a kept one, or dropped."""
    tokens = make_tokens(*shape)
    for method in in_range(name, tokens.grid):
        left = method.compress(tokens)
        assert bool((left.index.diff() > 0).all())
        assert torch.equal(left.survivor[left.index], left.index)
        assert set(left.survivor.tolist()) - {-1} == set(left.index.tolist())
        assert left.features.shape == (len(left), 24)
        assert bool(left.features.isfinite().all())
        assert left.saliency is not None
        assert left.saliency.shape == (len(left),)


@pytest.mark.parametrize("name", EVERY)
def test_compression_is_deterministic(name: str, make_tokens: Make) -> None:
    """The same tokens give the same result, independent of the global generator, and are not modified."""
    tokens = make_tokens(9, 4, 5)
    before = tokens.features.clone()
    for method in in_range(name, tokens.grid):
        torch.rand(3)  # the global generator must not matter
        first, second = method.compress(tokens), method.compress(make_tokens(9, 4, 5))
        assert torch.equal(first.features, second.features)
        assert torch.equal(first.survivor, second.survivor)
        assert torch.equal(tokens.features, before)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_budget_of_1_changes_nothing(name: str, shape: tuple[int, int, int], make_tokens: Make) -> None:
    """A budget of 1 keeps every token, bit-equal."""
    tokens = make_tokens(*shape)
    method = with_retain(make_method(name, {}), 1.0, FACTS, tokens.grid)
    left = method.compress(tokens)
    assert torch.equal(left.features, tokens.features)
    assert left.survivor.tolist() == list(range(len(tokens)))
    if prefill_pruner := method.prefill_pruner():
        assert prefill_pruner.choose(torch.rand(7)).tolist() == list(range(7))


@pytest.mark.parametrize("name", EVERY)
def test_bfloat16_and_zero_frames(name: str, make_tokens: Make) -> None:
    """The dtype bfloat16 is kept, and frames of zeros give finite features."""
    tokens = make_tokens(6, 3, 3)
    features = tokens.features.to(torch.bfloat16)
    features[9:27] = 0
    half = type(tokens)(features, tokens.index, tokens.grid, tokens.survivor, tokens.saliency)
    for method in in_range(name, tokens.grid):
        left = method.compress(half)
        assert left.features.dtype == torch.bfloat16
        assert bool(left.features.isfinite().all())


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_documented(name: str) -> None:
    """A method has its name in METHODS, its docstring explains every option, and its options parse back."""
    kind = METHODS[name]
    method = make_method(name, {})
    assert kind.name == name == method.name
    assert set(kind.acts) <= {BEFORE_PREFILL, IN_PREFILL, EACH_STEP}
    documentation = " ".join(part.__doc__ or "" for part in kind.__mro__[:2])
    for field in fields(kind):  # type: ignore[arg-type]
        assert f"{field.name}:" in documentation
    assert make_method(name, {key: str(value) for key, value in method.options().items()}) == method


@pytest.mark.parametrize("name", METHODS)
def test_needs_saliency_is_declared(name: str, make_tokens: Make) -> None:
    """Methods with `needs_saliency` are refused without it; the others do not depend on it."""
    method = make_method(name, {})
    if method.needs_saliency:
        with pytest.raises(UsageError, match=f"{name} needs the vision tower's attention"):
            method.check(ModelFacts(28, "one_token"))
    else:
        method.check(ModelFacts(28, "one_token"))
        tokens = make_tokens(5, 3, 3)
        without = type(tokens)(tokens.features, tokens.index, tokens.grid, tokens.survivor)
        assert torch.equal(method.compress(without).index, method.compress(tokens).index)


@pytest.mark.parametrize(
    ("name", "retain", "grid", "span"),
    [
        ("dycoke", 0.2, Grid(32, 14, 14), "0.25 to 1"),
        ("dycoke", 0.3, Grid(6, 14, 14), "0.3333 to 1"),
        ("dycoke", 0.5, Grid(1, 14, 14), "1 only"),
        ("full", 0.5, Grid(32, 14, 14), "1 only"),
        ("dynamic", 0.5, Grid(32, 14, 14), "1 only"),
        ("full+dynamic", 0.5, Grid(32, 14, 14), "1 only"),
        ("evs+dynamic", 0.1, Grid(5, 14, 14), "0.2 to 1"),
        ("fastv", 0.5, Grid(32, 14, 14), "0.625 to 1"),
    ],
)
def test_a_budget_out_of_range_is_refused_with_the_range(name: str, retain: float, grid: Grid, span: str) -> None:
    """UsageError (exit code 2) names the budget, and its remedy the range."""
    with pytest.raises(UsageError, match=f"{retain:.4g}") as caught:
        with_retain(make_method(name, {}), retain, FACTS, grid)
    assert span in caught.value.remedy
    assert caught.value.exit_code == 2


def test_a_budget_for_two_stages_is_refused() -> None:
    """A budget is refused if two stages of a chain can meet it; no budget leaves the chain unchanged."""
    method = make_method("evs+fastv", {})
    with pytest.raises(UsageError, match="--retain cannot be divided between evs and fastv"):
        with_retain(method, 0.7, FACTS, Grid(8, 3, 3))
    assert with_retain(method, None, FACTS, Grid(8, 3, 3)) is method


def test_attention_is_scored_after_the_prefill_pruning() -> None:
    """Dynamic pruning with FastV must score a layer from the cut on; otherwise the error suggests a layer."""
    with pytest.raises(UsageError, match="scored in layer 2") as caught:
        make_method("fastv+dynamic", {}).check(FACTS)
    assert "l=6" in caught.value.remedy
    make_method("fastv+dynamic", {"dynamic.l": "6"}).check(FACTS)
    make_method("fastv+dynamic", {"p": "0"}).check(FACTS)
    with pytest.raises(UsageError, match=r"fastv option l=8 .* last layer"):
        make_method("fastv", {"l": "8"}).check(FACTS)


def test_chains_take_their_options_and_their_budget() -> None:
    """An option goes to the stage that has it, the budget to the only stage with one; records name the stage."""
    method = make_method("random+dynamic", {"seed": "3", "dynamic.p": "0.5", "l": "2"})
    options = with_retain(method, 0.3, FACTS, Grid(8, 3, 3)).options()
    assert (options["random.seed"], options["random.retain"]) == (3, 0.3)
    assert (options["dynamic.p"], options["dynamic.l"]) == (0.5, 2)
    assert make_method("random+dynamic", {key: str(value) for key, value in options.items()}).options() == options
    assert make_method("random+dynamic", {"positions": "original"}).positions == "original"


@pytest.mark.parametrize(
    ("name", "options", "message", "remedy"),
    [
        ("random+dynamics", {}, "'dynamics'", "Did you mean 'dynamic'?"),
        ("random+", {}, "''", "Choose from"),
        ("random+random", {}, "twice", "once"),
        ("random+uniform", {}, "random and uniform both act before the prefill", "different moments"),
        ("dycoke+dynamic", {}, "dycoke and dynamic both act at each step", "different moments"),
        ("random+dynamic", {"gat": "1"}, "'gat'", "Did you mean 'gate'?"),
        ("random+dynamic", {"dynamic.gat": "1"}, "'dynamic.gat'", "Did you mean 'dynamic.gate'?"),
        ("random+dynamic", {"random.p": "1"}, "'random.p'", "Did you mean"),
        ("random+dynamic", {"p": "much"}, "dynamic option p is 'much'", "p=1"),
        ("random", {"retain": "0"}, "retain=0.0 is not above 0", "retain="),
        ("dycoke", {"variant": "official", "select": "once"}, "select=dynamic", "select"),
        ("fastv", {"l": "0"}, "fastv option l=0 is below 1", "l=5"),
        ("fastv", {"keep": "-0.1"}, r"fastv option keep=-0\.1", "keep"),
    ],
)
def test_wrong_chains_and_options_are_refused(name: str, options: dict[str, str], message: str, remedy: str) -> None:
    """The message names the wrong value, the remedy the correct form."""
    with pytest.raises(UsageError, match=message) as caught:
        make_method(name, options)
    assert remedy in caught.value.remedy


def test_apportioning_by_hand() -> None:
    """Proportional, limited by size with the excess redistributed, remainders by largest fraction, then in order."""
    assert apportion(10, [1, 1, 2], [9, 9, 9]) == [3, 2, 5]
    assert apportion(10, [1, 1, 8], [9, 9, 4]) == [3, 3, 4]
    assert apportion(4, [1, 1, 1], [9, 9, 9]) == [2, 1, 1]
    assert apportion(99, [1, 2], [3, 4]) == [3, 4]
    assert apportion(3, [1, 1, 1], [2, 0, 2]) == [2, 0, 1]


@pytest.mark.parametrize("variant", ["dycoke", "dynamic"])
def test_once_chooses_at_the_first_step_only(variant: str) -> None:
    """The one-shot ablation keeps the set of the first scores for different later scores."""
    selector = make_method(variant, {"select": "once", "p": "0.5"}).selector(torch.tensor([4]))
    assert selector is not None
    first = selector.select(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    later = selector.select(torch.tensor([[0.0, 0.0, 0.5, 0.5]]))
    assert later.index.tolist() == first.index.tolist()
    assert (first.changed.tolist(), later.changed.tolist()) == ([True], [False])


def test_uniform_by_hand(make_tokens: Make) -> None:
    """Half of four frames is two whole frames; 5 of 16 tokens are one frame and one token of the third."""
    tokens = make_tokens(4, 2, 2)
    assert make_method("uniform", {"retain": "0.5"}).compress(tokens).index.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert make_method("uniform", {"retain": "0.3125"}).compress(tokens).index.tolist() == [0, 1, 2, 3, 8]
    assert make_method("uniform", {"retain": "0.125"}).compress(tokens).index.tolist() == [0, 2]


def test_random_is_seeded(make_tokens: Make) -> None:
    """Different seeds keep different tokens, equally many."""
    tokens = make_tokens(8, 4, 4)
    one, other = (make_method("random", {"seed": seed}).compress(tokens).index.tolist() for seed in ("1", "2"))
    assert one != other
    assert len(one) == len(other) == 32
