"""Summary of a bench: medians, shares of limits, ratios, growth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dycoke_cli.bench.case import Case
from dycoke_cli.bench.summary import fitted_exponent, summarise
from dycoke_cli.comparison.summary import Spread
from tests.bench.made import bench_result, run

CASE, TWICE = Case(4, 784, 1, 5, False), Case(8, 1568, 1, 5, False)


@given(
    power=st.floats(-3, 3),
    factor=st.floats(1e-3, 1e3),
    sizes=st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True),
)
def test_the_exponent_of_a_power_law_is_recovered(power: float, factor: float, sizes: list[int]) -> None:
    """The fitted exponent is the power, for any factor."""
    found = fitted_exponent(sizes, [factor * size**power for size in sizes])
    assert found == pytest.approx(power, abs=1e-5)


@pytest.mark.parametrize(
    ("sizes", "costs"), [([8], [1.0]), ([8, 8], [1.0, 2.0]), ([8, 16], [0.0, 1.0]), ([8, 16], [None, 1.0])]
)
def test_data_that_cannot_be_fitted(sizes: list[int], costs: list[float | None]) -> None:
    """A single size, or a cost that is zero or unknown, has no exponent."""
    assert fitted_exponent(sizes, costs) is None


def test_medians_and_ratios_by_hand() -> None:
    """Three repeats of two arms: prefill medians of 4 and 2 s, step medians of 0.2 and 0.4 s."""
    runs = [run(CASE, "generate", n, prefill, 0.2) for n, prefill in enumerate((9.0, 4.0, 3.0))]
    runs += [run(CASE, "dycoke", n, 2.0, step) for n, step in enumerate((0.4, 0.3, 0.5))]
    found = bench_result([CASE], runs)
    found.peaks = {("generate", CASE): 400, ("dycoke", CASE): 100}
    stock, ours = summarise(found).rows
    assert [row.label for row in (stock, ours)] == ["generate", "dycoke"]
    assert stock.time_s["prefill"] == Spread(median=4.0, min=3.0, max=9.0)
    assert ours.against_generate.speedup_prefill == 2.0
    assert ours.against_generate.speedup_per_token == 0.5
    assert ours.against_generate.peak_share == 0.25
    assert ours.against_full.speedup_total is None
    # 100 operations in 2 s at a limit of 500 per second; 100 bytes in 0.4 s at a limit of 1000 per second.
    assert ours.prefill_of_limit == pytest.approx(0.1)
    assert ours.per_token_of_limit == pytest.approx(4.0)
    # 300 operations in 2 s at a limit of 500 per second.
    assert summarise(found).tower_of_limit == pytest.approx(0.3)


def test_growth_over_cases_that_differ_in_size_alone() -> None:
    """Twice the tokens with four times the prefill is exponent 2, an equal step 0; another batch size is left out."""
    batch = Case(8, 1568, 4, 5, False)
    runs = [run(CASE, "full", 0, 1.0, 0.1), run(TWICE, "full", 0, 4.0, 0.1), run(batch, "full", 0, 50.0, 9.0)]
    (growth,) = summarise(bench_result([CASE, TWICE, batch], runs)).growth
    assert (growth.label, growth.batch, growth.tokens) == ("full", 1, (784, 1568))
    assert growth.exponents["prefill"] == pytest.approx(2.0)
    assert growth.exponents["per_token"] == pytest.approx(0.0)
    assert growth.exponents["vision"] is None


def test_an_interrupted_bench_has_rows_of_its_runs() -> None:
    """An arm with one of three repeats has a row with one repeat; an arm without runs has none."""
    summary = summarise(bench_result([CASE, TWICE], [run(CASE, "generate", 0, 1.0, 0.1)], interrupted=True))
    assert [(row.label, row.case, row.repeats) for row in summary.rows] == [("generate", CASE, 1)]
    assert summary.growth == ()
