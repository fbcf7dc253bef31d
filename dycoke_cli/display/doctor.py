"""Render the results of `dycoke doctor` as lines and as JSON, without importing torch."""

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


def result_row(result: "CheckResult") -> RenderableType:
    """Render one result in columns of fixed width, with its remedy on the next line."""
    row = Table.grid(padding=(0, 2))
    row.add_column(width=COLUMNS["check"])
    row.add_column(width=COLUMNS["status"])
    row.add_column(overflow="fold")
    text = Text(result.message)
    if result.remedy:
        text.append(f"\n{result.remedy}", style="dim")
    row.add_row(Text(result.check), Text(result.status, style=STYLES[result.status]), text)
    return row


def verdict(results: "Sequence[CheckResult]") -> Text:
    """Render the line that summarises all results."""
    broken = [result.check for result in results if result.status == "broken"]
    warned = [result.check for result in results if result.status == "warning"]
    warnings = f"warnings: {', '.join(warned)}" if warned else "no warnings"
    if broken:
        return Text(f"Broken: {', '.join(broken)}; {warnings}.", style=STYLES["broken"])
    return Text(f"Nothing is broken; {warnings}.", style=STYLES["warning" if warned else "ok"])


def results_record(results: "Sequence[CheckResult]", version: str, system: str) -> dict[str, Any]:
    """Build the object of `dycoke doctor --json`."""
    return {
        "schema": 1,
        "dycoke": version,
        "system": system,
        "ok": all(result.status != "broken" for result in results),
        "checks": [asdict(result) for result in results],
    }
