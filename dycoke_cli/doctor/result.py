"""What one check found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warning", "broken"]


@dataclass(frozen=True)
class CheckResult:
    """One check's result: what was found, and what to do about it where it is not ok.

    A warning leaves `dycoke` usable; what is broken does not. `facts` are plain values for bug reports.
    """

    check: str
    status: Status
    message: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def ok(check: str, message: str, **facts: Any) -> CheckResult:
    """Make the finding of a check that has nothing to complain about."""
    return CheckResult(check, "ok", message, facts=facts)
