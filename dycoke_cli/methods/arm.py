"""One method with its options in a comparison, and the label that tables print for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method


@dataclass(frozen=True)
class Arm:
    """One of the methods that a comparison runs."""

    label: str  # as the user wrote it: dycoke:k=0.5
    method: Method
    baseline: bool = False  # the uncompressed run, which ignores --retain

    @classmethod
    def of(cls, name: str, options: Mapping[str, str]) -> "Arm":
        """Build method `name` with textual `options`. Raise UsageError if either is wrong."""
        written = ",".join(f"{key}={value}" for key, value in options.items())
        return cls(f"{name}:{written}" if written else name, make_method(name, options))

    @property
    def context_remedy(self) -> str:
        """The remedy for a prompt that is too long for this arm only; empty if there is none."""
        return "no --baseline" if self.baseline else ""

    @property
    def described(self) -> dict[str, Any]:
        """The arm as plain values for JSON records, with every option including defaults."""
        return {"label": self.label, "name": self.method.name, "options": self.method.options()}


def refuse_duplicates(arms: Sequence[Arm]) -> None:
    """Raise UsageError if two arms have the same method and options."""
    seen: dict[Method, Arm] = {}
    for arm in arms:
        if (first := seen.setdefault(arm.method, arm)) is not arm:
            raise UsageError(f"{first.label!r} and {arm.label!r} are the same method", "Leave one out")
