"""The result of one check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "broken"]


@dataclass(frozen=True)
class CheckResult:
    """The result of one check: a message, and a remedy unless it is ok.

    `dycoke` is usable with a warning, but not with a broken part. `facts` are plain values for bug reports.
    """

    check: str
    status: Status
    message: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def ok(check: str, message: str, **facts: Any) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult(check, "ok", message, facts=facts)
