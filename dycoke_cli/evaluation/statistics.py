"""Confidence intervals for accuracies, and for paired differences between methods on the same questions."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z = 1.959963984540054  # two-sided 95 % of the normal distribution
RESAMPLES = 10_000
CELLS = 4_000_000  # of one block of the table of resamples, to bound its memory

Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """Difference in accuracy of a method to a reference on the same questions; above 0 the method is better."""

    difference: float  # of the accuracies, -1 to 1
    interval: Interval | None  # 95 %, over videos; None for fewer than two
    videos: int
    questions: int
    better: int  # questions that only the method answers correctly
    worse: int  # questions that only the reference answers correctly


def wilson_interval(right: int, number: int) -> Interval:
    """Return the 95 % score interval of the accuracy right / number. Source: Wilson 1927.

    Raises ValueError unless 0 <= right <= number and number > 0.
    """
    if not 0 <= right <= number or number == 0:
        raise ValueError(f"{right} of {number} is no share")
    share, z2 = right / number, Z * Z
    middle = (share + z2 / (2 * number)) / (1 + z2 / number)
    half = Z / (1 + z2 / number) * math.sqrt(share * (1 - share) / number + z2 / (4 * number * number))
    # At the ends the bound is exactly 0 or 1, which rounding would miss.
    return (0.0 if right == 0 else middle - half, 1.0 if right == number else middle + half)


def paired_difference(
    videos: Sequence[Hashable],
    right: Sequence[bool],
    reference: Sequence[bool],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare two methods question by question, with a 95 % percentile interval from a bootstrap over videos.

    videos, right, reference: (questions,), the video of each question and whether each method answers it correctly.
    Answers about one video are correlated, so whole videos are drawn, with replacement.
    Source: Efron & Tibshirani 1993, the percentile interval of a cluster bootstrap.
    Raises ValueError where the three differ in length or are empty.
    """
    if not len(videos) == len(right) == len(reference) or not len(videos):
        raise ValueError(f"{len(videos)} videos, {len(right)} and {len(reference)} answers are no pairs")
    numbers: dict[Hashable, int] = {}
    video = np.array([numbers.setdefault(name, len(numbers)) for name in videos])
    gains = np.array(right, dtype=float) - np.array(reference, dtype=float)  # (questions,) of -1, 0, 1
    gain: npt.NDArray[np.float64] = np.bincount(video, weights=gains).astype(float)  # (videos,)
    size = np.bincount(video)  # (videos,)
    interval = _percentile_interval(gain, size, resamples, seed) if len(numbers) > 1 else None
    return Difference(
        float(gains.mean()), interval, len(numbers), len(videos), int((gains > 0).sum()), int((gains < 0).sum())
    )


def _percentile_interval(
    gain: npt.NDArray[np.float64], size: npt.NDArray[np.intp], resamples: int, seed: int
) -> Interval:
    rng, number = np.random.default_rng(seed), len(size)
    chances = np.full(number, 1 / number)
    step = max(1, CELLS // number)
    shares = []
    for start in range(0, resamples, step):
        # (resamples, videos): how often each video is drawn.
        drawn = rng.multinomial(number, chances, size=min(step, resamples - start))
        shares.append((drawn @ gain) / (drawn @ size))
    low, high = np.percentile(np.concatenate(shares), [2.5, 97.5])
    return float(low), float(high)
