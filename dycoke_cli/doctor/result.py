"""The result of one check, and its result if the check raises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dycoke_cli.errors import DyCokeError

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


def run_check(name: str, check: Callable[[], CheckResult], remedy: str) -> CheckResult:
    """Run one check; return whatever it raises as a broken result; remedy: for errors that are no DyCokeError."""
    try:
        return check()
    except DyCokeError as error:
        return CheckResult(name, "broken", error.message, error.remedy)
    except Exception as error:  # an incompletely installed package can raise anything
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return CheckResult(name, "broken", reason, remedy)
