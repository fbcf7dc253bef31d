"""Render the table of methods, and the page of one, without importing torch."""

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

BUDGET_NOTE = "Budgets: possible values of --retain for 32 frames and a model of 28 layers."


def methods_table(methods: list[dict[str, Any]]) -> RenderableType:
    """Render one row per method."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("method", style="bold", no_wrap=True)
    table.add_column("acts", min_width=11)
    table.add_column("options and defaults", overflow="fold")
    table.add_column("budget", no_wrap=True)
    table.add_column("source", style="dim")
    for method in methods:
        options = " ".join(f"{option['name']}={_value(option['default'])}" for option in method["options"])
        table.add_row(method["name"], _acts(method), options, _budget(method), method["source"])
    notes = f"{BUDGET_NOTE} Methods that act at different moments can be chained: -M vidcom2+dynamic."
    return Group(table, Text(""), Text(notes, style="dim"))


def method_page(method: dict[str, Any]) -> RenderableType:
    """Render the documentation and the options of one method."""
    parts: list[RenderableType] = [
        Text.assemble((method["name"], "bold"), f" · acts {_acts(method)}"),
        Text(method["description"] + "\n"),
    ]
    if method["options"]:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for option in method["options"]:
            table.add_row(f"{option['name']}={_value(option['default'])}", option["meaning"])
        parts += [Padding(table, (0, 0, 1, 2))]
    parts.append(Text(f"Budget: {_budget(method)}. {BUDGET_NOTE}", style="dim"))
    parts.append(Text(f"Source: {method['source']}", style="dim"))
    return Group(*parts)


def _acts(method: dict[str, Any]) -> str:
    return ", ".join(method["acts"]) or "never"


def _budget(method: dict[str, Any]) -> str:
    low, high = method["retain"]
    if low == high:
        return "all"
    return f"{low:.2g} to {high:g}" if low else "any"


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
