"""Which numbers an option of a method may have: told before the method itself, and torch, is imported.

A method says it in the annotation of its option, as in `k: Share = 0.7`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from dycoke_cli.errors import UsageError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `above`: without `low` itself."""

    low: float
    high: float = math.inf
    above: bool = False

    def check(self, method: str, option: str, value: float, default: object) -> None:
        """Raise UsageError for a value outside, or one that is no number; `default` is one that would do."""
        if self.low < value <= self.high or (value == self.low and not self.above):
            return
        raise UsageError(f"{method} option {option}={value} is {self._missed}", f"Try -o {option}={default}")

    @property
    def _missed(self) -> str:
        """What is wrong with a value outside."""
        if math.isinf(self.high):
            return f"not above {self.low:g}" if self.above else f"below {self.low:g}"
        if self.above:
            return f"not above {self.low:g} and at most {self.high:g}"
        return f"not between {self.low:g} and {self.high:g}"


Share = Annotated[float, Range(0, 1)]
SomeShare = Annotated[float, Range(0, 1, above=True)]
Similarity = Annotated[float, Range(-1, 1)]
Positive = Annotated[float, Range(0, above=True)]
Layer = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]


def range_of(annotation: Any) -> Range | None:
    """Give the range that an annotation names, if any."""
    return next((part for part in get_args(annotation) if isinstance(part, Range)), None)
