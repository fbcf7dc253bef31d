"""One side of a comparison: a method with its options, under the name that tables give it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.options import make_method, method_options
from dycoke_cli.methods.protocol import Method


@dataclass(frozen=True)
class Arm:
    """A method to be compared with others."""

    label: str  # what the user wrote: dycoke:k=0.5
    method: Method
    baseline: bool = False  # runs without compression, whatever budget the others have

    @classmethod
    def of(cls, name: str, options: Mapping[str, str]) -> "Arm":
        """Build the arm of method `name` with `options`, given as text. Raises UsageError."""
        written = ",".join(f"{key}={value}" for key, value in options.items())
        return cls(f"{name}:{written}" if written else name, make_method(name, options))

    @property
    def way_out(self) -> str:
        """What to do where the arm alone cannot run, besides what goes for any."""
        return "no --baseline" if self.baseline else ""

    @property
    def described(self) -> dict[str, Any]:
        """The arm in records: every option, defaults included."""
        return {"label": self.label, "name": self.method.name, "options": method_options(self.method)}


def refuse_twins(arms: Sequence[Arm]) -> None:
    """Raise UsageError for a method that is there twice with the same options."""
    seen: dict[Method, Arm] = {}
    for arm in arms:
        if (first := seen.setdefault(arm.method, arm)) is not arm:
            raise UsageError(f"{first.label!r} and {arm.label!r} are the same method", "Leave one out")
