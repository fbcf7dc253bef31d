"""How a cost grows with the size of the input."""

import math
from collections.abc import Sequence


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """Fit cost = a * size**b by least squares of the logarithms, and give b: 1 is linear, 2 quadratic.

    None where there are not two different sizes, or a cost is not positive.
    """
    if len(set(sizes)) < 2 or min(costs) <= 0:
        return None
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)
