"""What `dycoke doctor` found, line by line and as JSON. Knows no torch."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dycoke_cli.doctor.result import CheckResult

STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red"}
COLUMNS = {"check": 11, "status": 7}  # the widest word of each


def result_row(finding: "CheckResult") -> RenderableType:
    """Show one finding in columns that fit those of all others, what to do about it underneath."""
    row = Table.grid(padding=(0, 2))
    row.add_column(width=COLUMNS["check"])
    row.add_column(width=COLUMNS["status"])
    row.add_column(overflow="fold")
    told = Text(finding.message)
    if finding.remedy:
        told.append(f"\n{finding.remedy}", style="dim")
    row.add_row(Text(finding.check), Text(finding.status, style=STYLES[finding.status]), told)
    return row


def verdict(findings: "Sequence[CheckResult]") -> Text:
    """Sum up in one line."""
    broken = [finding.check for finding in findings if finding.status == "broken"]
    warned = [finding.check for finding in findings if finding.status == "warning"]
    warnings = f"warnings: {', '.join(warned)}" if warned else "no warnings"
    if broken:
        return Text(f"Broken: {', '.join(broken)}; {warnings}.", style=STYLES["broken"])
    return Text(f"Nothing is broken; {warnings}.", style=STYLES["warning" if warned else "ok"])


def results_record(findings: "Sequence[CheckResult]", version: str, system: str) -> dict[str, Any]:
    """Build the object of `dycoke doctor --json`."""
    return {
        "schema": 1,
        "dycoke": version,
        "system": system,
        "ok": all(finding.status != "broken" for finding in findings),
        "checks": [asdict(finding) for finding in findings],
    }
