"""A summary contains medians, their range, and ratios of medians."""

from dataclasses import astuple, replace
from typing import Any

import pytest

from dycoke_cli.comparison.depth import Computed
from dycoke_cli.comparison.result import Comparison, Run
from dycoke_cli.comparison.summary import Summary, summarise
from dycoke_cli.session.answer import Answer
from tests.display.test_panel import ANSWER, PLAIN, outcome

MACHINE = {"cpu": "a processor", "device_name": "a processor", "torch": "2.9", "transformers": "5.20"}


def run(label: str, repeat: int, answer: Answer, options: dict[str, Any] | None = None, flops: int = 10**9) -> Run:
    """A run whose total time is longer by `repeat` tenths of a second."""
    time = replace(answer.time_s, total=answer.time_s.total + repeat / 10)
    method = {"label": label, "name": label.split(":")[0], "options": options or {}}
    return Run(label, method, repeat, 0, replace(answer, time_s=time), Computed(flops / 3, flops))


def comparison(*runs: Run, reference: str | None = "full") -> Comparison:
    plain = outcome()
    return Comparison(plain.frames, "what?", plain.model, MACHINE, 1.0, reference, runs)


def three() -> Comparison:
    """A comparison of two methods and stock `generate`, three repeats each."""
    time = replace(PLAIN.time_s, vision=None, prefill=None)
    stock = replace(PLAIN, time_s=time, memory_bytes=replace(PLAIN.memory_bytes, peak_above_weights=6_000_000))
    runs = []
    for repeat in (2, 0, 1):
        runs += [
            run("full", repeat, PLAIN, flops=4 * 10**9),
            run("generate", repeat, stock, {"inputs": "pixels"}, flops=4 * 10**9),
            run("dycoke:k=0.5", repeat, ANSWER, {"k": 0.5}),
        ]
    return comparison(*runs)


def spread(summary: Summary, name: str) -> tuple[float, ...]:
    """The median and range of a time."""
    found = summary.time_s[name]
    assert found is not None
    return astuple(found)


def test_medians_range_and_ratios() -> None:
    """Totals of 0.66 to 0.86 s and 0.44 to 0.64 s; speed-ups are theirs / ours, shares ours / theirs; equal is 1."""
    full, stock, dycoke = summarise(three())
    assert [found.method for found in (full, stock, dycoke)] == ["full", "generate", "dycoke:k=0.5"]
    assert spread(full, "total") == pytest.approx((0.76, 0.66, 0.86))
    assert spread(dycoke, "total") == pytest.approx((0.54, 0.44, 0.64))
    assert spread(dycoke, "model") == pytest.approx((0.44, 0.34, 0.54))
    ratios = dycoke.against_full
    assert ratios.speedup_total == pytest.approx(0.76 / 0.54)
    assert ratios.speedup_model == pytest.approx(0.66 / 0.44)
    assert ratios.speedup_prefill == pytest.approx(3)
    assert ratios.speedup_decode == pytest.approx(1.5)
    assert ratios.flops_true_ratio == 0.25
    assert ratios.peak_above_weights_ratio == 1
    assert dycoke.against_generate.peak_above_weights_ratio == 0.5
    assert set(astuple(full.against_full)) == {1}
    assert dycoke.decode_retention == 0.1426
    assert dycoke.prefill_retention == 0.474609


def test_a_figure_that_was_not_measured_has_no_ratio() -> None:
    """Stock `generate` has no separate prefill time, so no arm has a prefill speed-up over it."""
    _, stock, dycoke = summarise(three())
    assert stock.time_s["prefill"] is stock.time_s["vision"] is None
    assert stock.against_full.speedup_prefill is dycoke.against_generate.speedup_prefill is None
    assert stock.against_full.speedup_total == 1


def test_agreement_is_with_the_uncompressed_answer() -> None:
    """F1 over two words, without the article, is 0.5. An arm whose answers vary is no exact match."""
    full, _, dycoke = summarise(three())
    assert (full.agreement, full.agreement_exact) == (1, True)
    assert (dycoke.agreement, dycoke.agreement_exact) == (0.5, False)
    varied = comparison(run("full", 0, PLAIN), run("x", 0, PLAIN), run("x", 1, ANSWER))
    found = summarise(varied)[1]
    assert (found.agreement, found.agreement_exact, found.same_every_time) == (0.75, False, False)


def test_without_an_uncompressed_run_there_are_no_ratios() -> None:
    """Ratios and agreement are None; the measured times are present."""
    (found,) = summarise(comparison(run("dycoke", 0, ANSWER), reference=None))
    assert isinstance(found, Summary)
    assert set(astuple(found.against_full)) == set(astuple(found.against_generate)) == {None}
    assert found.agreement is found.agreement_exact is None
    assert spread(found, "prefill") == (0.1, 0.1, 0.1)
