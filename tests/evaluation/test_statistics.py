"""Intervals compared with published values, with their properties, and with all possible resamples."""

import itertools
import math

import numpy as np
import pytest

from dycoke_cli.evaluation import statistics
from dycoke_cli.evaluation.statistics import paired_difference, wilson_interval


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),
    [
        # By hand from the score interval, z = 1.96; 8 of 10: (0.8 + 0.19207 ± 1.95996 * 0.16018) / 1.38415.
        (8, 10, 0.49016, 0.94332),
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        (81, 263, 0.25524, 0.36624),  # Newcombe 1998, table I: 0.2553 to 0.3662
        (1, 29, 0.00611, 0.17176),  # Newcombe 1998, table I: 0.0061 to 0.1718
    ],
)
def test_wilson_by_hand(right: int, number: int, low: float, high: float) -> None:
    """Published and hand-computed intervals."""
    assert wilson_interval(right, number) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(("right", "number"), [(1, 1), (3, 7), (50, 100), (999, 1000)])
def test_wilson_bounds_solve_the_score_equation(right: int, number: int) -> None:
    """At a bound b inside (0, 1) the observed share is exactly z standard errors of b away."""
    for bound in wilson_interval(right, number):
        if 0 < bound < 1:
            error = math.sqrt(bound * (1 - bound) / number)
            assert abs(right / number - bound) == pytest.approx(statistics.Z * error)


def test_wilson_is_symmetric() -> None:
    """The interval of wrong answers is 1 minus that of right ones."""
    low, high = wilson_interval(3, 11)
    assert wilson_interval(8, 11) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("right", "number"), [(0, 0), (2, 1), (-1, 3)])
def test_wilson_of_invalid_counts(right: int, number: int) -> None:
    """No answers, or right ones outside 0 to number, raise ValueError."""
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(right, number)


def outcomes(videos: int, questions: int, seed: int = 0) -> tuple[list[str], list[bool], list[bool]]:
    rng = np.random.default_rng(seed)
    names = [f"v{rng.integers(videos)}" for _ in range(questions)]
    return names, (rng.random(questions) < 0.8).tolist(), (rng.random(questions) < 0.5).tolist()


def test_identical_methods_do_not_differ() -> None:
    """Difference 0, interval [0, 0], no question better or worse."""
    videos, right, _ = outcomes(7, 40)
    found = paired_difference(videos, right, right)
    assert (found.difference, found.interval, found.better, found.worse) == (0.0, (0.0, 0.0), 0, 0)


def test_the_difference_is_that_of_the_accuracies() -> None:
    """The estimate equals mean minus mean, and better minus worse questions; it lies inside the interval."""
    videos, right, reference = outcomes(12, 100)
    found = paired_difference(videos, right, reference)
    assert found.difference == pytest.approx(np.mean(right) - np.mean(reference))
    assert found.difference == pytest.approx((found.better - found.worse) / 100)
    assert found.interval is not None
    assert found.interval[0] < found.difference < found.interval[1]
    assert (found.videos, found.questions) == (len(set(videos)), 100)


def test_swapping_the_methods_mirrors_the_interval() -> None:
    """The swapped interval is the negative of the first."""
    videos, right, reference = outcomes(9, 50)
    one, other = paired_difference(videos, right, reference), paired_difference(videos, reference, right)
    assert one.interval is not None
    assert other.interval is not None
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))


def test_questions_of_one_video_stay_together() -> None:
    """Repeating every question five times adds no videos, so the interval stays the same."""
    videos, right, reference = outcomes(8, 30)
    once = paired_difference(videos, right, reference)
    often = paired_difference(videos * 5, right * 5, reference * 5)
    assert often.interval == pytest.approx(once.interval)
    as_if_independent = paired_difference(list(range(150)), right * 5, reference * 5)
    assert as_if_independent.interval is not None
    assert once.interval is not None
    assert np.ptp(as_if_independent.interval) < 0.7 * np.ptp(once.interval)


def test_the_bootstrap_equals_all_resamples() -> None:
    """The reference is the exact distribution over the 4**4 equally likely resamples of four videos."""
    videos = ["a"] * 3 + ["b"] * 2 + ["c"] + ["d"] * 2
    right = [True, True, False, True, True, False, True, False]
    reference = [False, False, False, True, False, True, True, False]
    gains = {"a": (2, 3), "b": (1, 2), "c": (-1, 1), "d": (0, 2)}  # by hand
    shares = []
    for drawn in itertools.product("abcd", repeat=4):
        shares.append(sum(gains[name][0] for name in drawn) / sum(gains[name][1] for name in drawn))
    found = paired_difference(videos, right, reference)
    assert found.interval == pytest.approx(np.percentile(shares, [2.5, 97.5]), abs=0.02)


def test_one_video_has_no_interval() -> None:
    """A single video has no spread between videos to resample."""
    assert paired_difference(["a", "a"], [True, True], [False, True]).interval is None


def test_resamples_depend_on_the_seed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed determines the interval, whatever the block size of the table of resamples."""
    videos, right, reference = outcomes(6, 20)
    whole = paired_difference(videos, right, reference, seed=3)
    monkeypatch.setattr(statistics, "CELLS", 100)
    assert paired_difference(videos, right, reference, seed=3) == whole
    assert paired_difference(videos, right, reference, seed=4).interval != whole.interval


def test_unpaired_answers_are_refused() -> None:
    """Lists of different length, or empty ones, raise ValueError."""
    for videos, right in (([], []), (["a"], [True, False])):
        with pytest.raises(ValueError, match="no pairs"):
            paired_difference(videos, right, right)
