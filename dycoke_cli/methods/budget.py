"""What a budget means: the share of all visual tokens that enters the language model.

For a method that acts inside the prefill it is the mean of that share over the layers. Every method meets its budget
to within one token a frame, whatever it spends it on.
"""

import math
from collections.abc import Sequence

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.tokens import Grid


def with_retain(method: Method, retain: float | None, facts: ModelFacts, grid: Grid) -> Method:
    """Return `method` with the options that make it keep the share `retain` of a video of shape `grid`.

    None leaves the method as it is. Raises UsageError with the method's range where it cannot meet the budget.
    """
    if retain is None:
        return method
    low, high = method.retain_range(facts, grid)
    # Half a token of slack, so that a bound that was printed rounded is accepted.
    slack = 0.5 / grid.total
    if not low - slack <= retain <= high + slack:
        span = f"{low:.4g} to {high:.4g}" if low < high else f"{high:.4g} only"
        raise UsageError(
            f"method {method.name} cannot retain {retain:.4g} of these visual tokens",
            f"On {grid.frames} frames and {facts.layers} layers it can meet --retain {span}; "
            f"see `dycoke methods {method.name}`",
        )
    return method.retaining(min(max(retain, low), high), facts, grid)


def rounded(share: float, count: int) -> int:
    """Give the whole number of tokens nearest to a share of `count`, at least one where there is any."""
    return min(count, max(1, math.floor(share * count + 0.5)))


def apportion(total: int, weights: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """Split `total` tokens among groups in proportion to `weights`, none getting more than its size.

    What a full group cannot take goes to the others in proportion; fractions are settled by largest remainder, earlier
    groups first. weights: above 0 wherever a group has tokens. The result sums to `total`, or to all tokens if fewer.
    """
    left = min(total, sum(sizes))
    counts = [0] * len(sizes)
    groups = [group for group, size in enumerate(sizes) if size]
    while groups:
        scale = left / sum(weights[group] for group in groups)
        full = [group for group in groups if scale * weights[group] >= sizes[group]]
        if not full:
            break
        for group in full:
            counts[group] = sizes[group]
            left -= sizes[group]
            groups.remove(group)
    shares = {group: scale * weights[group] for group in groups}
    for group, share in shares.items():
        counts[group] = math.floor(share)
    by_remainder = sorted(groups, key=lambda group: counts[group] - shares[group])
    for group in by_remainder[: left - sum(counts[group] for group in groups)]:
        counts[group] += 1
    return counts
