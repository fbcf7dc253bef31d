"""The table at the end of a GPU day."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

STYLES = {"done": "green", "failed": "red", "timed out": "red", "not run": "dim"}


def day_table(record: Mapping[str, Any]) -> Table:
    """Return the table of a day's record: each part with its status, seconds and figures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("part", "status", "figure"):
        table.add_column(name, no_wrap=name != "figure", overflow="fold")
    table.add_column("value", overflow="fold")
    for name, part in record["parts"].items():
        status = Text(part["status"], style=STYLES[part["status"]])
        if part["seconds"] is not None:
            status.append(f", {part['seconds']:.0f} s", style="dim")
        rows = rows_of(name, part["result"])
        if part["reason"]:
            rows.insert(0, ("reason", part["reason"]))
        for number, (what, value) in enumerate(rows or [("", "")]):
            labels = ("", "") if number else (Text(name, style="cyan"), status)
            table.add_row(*labels, Text(what), Text(value))
    return table


def rows_of(name: str, result: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return the figures of a part's record, complete or not; none for a record that its part cannot show."""
    module = f"benchmarks.gpu.parts.{name}"
    if not result or find_spec(module) is None:
        return []
    rows: list[tuple[str, str]] = import_module(module).rows(result)
    return rows


def heading(record: Mapping[str, Any]) -> str:
    """Return the line above the table: card, driver, memory, versions, date and commit."""
    machine = record["machine"]
    memory = machine.get("memory_bytes")
    words = [
        machine["device_name"],
        memory and f"{memory / 2**30:.0f} GiB",
        machine["driver"] and f"driver {machine['driver']}",
        machine["cuda"] and f"CUDA {machine['cuda']}",
        *(f"{name} {machine[name]}" for name in ("torch", "transformers", "triton", "python") if machine[name]),
        machine["date"],
        machine["commit"] and f"commit {machine['commit'][:12]}",
    ]
    return ", ".join(filter(None, words))
