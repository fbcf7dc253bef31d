"""Token budgets: apply `--retain`, round shares to token counts, and divide a count among groups.

A budget is the share of all visual tokens that enters the language model; for a method that acts inside the prefill,
the mean of that share over the layers. Every method meets its budget to within one token a frame.
"""

import math
from collections.abc import Sequence

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.tokens import Grid


def with_retain(method: Method, retain: float | None, facts: ModelFacts, grid: Grid) -> Method:
    """Return `method` with its options set so that it keeps the share `retain` of a video of shape `grid`.

    retain: 0 to 1; None returns the method unchanged. Raise UsageError, which names the possible range, if the method
    cannot meet the budget.
    """
    if retain is None:
        return method
    low, high = method.retain_range(facts, grid)
    # Half a token of tolerance, so that a rounded bound from an error message is accepted.
    tolerance = 0.5 / grid.total
    if not low - tolerance <= retain <= high + tolerance:
        span = f"{low:.4g} to {high:.4g}" if low < high else f"{high:.4g} only"
        raise UsageError(
            f"method {method.name} cannot retain {retain:.4g} of these visual tokens",
            f"On {grid.frames} frames and {facts.layers} layers it can meet --retain {span}; "
            f"see `dycoke methods {method.name}`",
        )
    return method.with_budget(min(max(retain, low), high), facts, grid)


def rounded(share: float, count: int) -> int:
    """Return `share * count` rounded to the nearest integer, at least 1 unless `count` is 0."""
    return min(count, max(1, math.floor(share * count + 0.5)))


def apportion(total: int, weights: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Divide `total` tokens among groups in proportion to `weights`, with at most `sizes[i]` for group i.

    Tokens beyond a group's size are divided among the other groups in proportion. Fractions are rounded by largest
    remainder, earlier groups first. weights: above 0 for every group that has tokens. The result sums to
    min(total, sum(sizes)).
    """
    unassigned = min(total, sum(sizes))
    counts = [0] * len(sizes)
    groups = [group for group, size in enumerate(sizes) if size]
    while groups:
        scale = unassigned / sum(weights[group] for group in groups)
        full = [group for group in groups if scale * weights[group] >= sizes[group]]
        if not full:
            break
        for group in full:
            counts[group] = sizes[group]
            unassigned -= sizes[group]
            groups.remove(group)
    shares = {group: scale * weights[group] for group in groups}
    for group, share in shares.items():
        counts[group] = math.floor(share)
    by_remainder = sorted(groups, key=lambda group: counts[group] - shares[group])
    for group in by_remainder[: unassigned - sum(counts[group] for group in groups)]:
        counts[group] += 1
    return counts
