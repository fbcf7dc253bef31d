"""Ranges of numeric method options, as annotations such as `k: Share = 0.7`.

This module needs no torch, so that a wrong value is refused before torch is imported.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from dycoke_cli.errors import UsageError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `above` excludes `low`."""

    low: float
    high: float = math.inf
    above: bool = False

    def check(self, method: str, option: str, value: float, default: object) -> None:
        """Raise UsageError if `value` is outside the range or NaN; the remedy suggests `default`."""
        if self.low < value <= self.high or (value == self.low and not self.above):
            return
        raise UsageError(f"{method} option {option}={value} is {self._violation}", f"Try -o {option}={default}")

    @property
    def _violation(self) -> str:
        """The error text for a value outside the range."""
        if math.isinf(self.high):
            return f"not above {self.low:g}" if self.above else f"below {self.low:g}"
        if self.above:
            return f"not above {self.low:g} and at most {self.high:g}"
        return f"not between {self.low:g} and {self.high:g}"


Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, above=True)]
Similarity = Annotated[float, Range(-1, 1)]
Positive = Annotated[float, Range(0, above=True)]
Layer = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]


def range_of(annotation: Any) -> Range | None:
    """Return the range in an annotation, None if it has none."""
    return next((part for part in get_args(annotation) if isinstance(part, Range)), None)
