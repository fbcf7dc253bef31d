"""Render the settings as a table with their origins, and as a commented settings file."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich import box
from rich.table import Table
from rich.text import Text

HEAD = """\
# Settings of dycoke. Commented lines show the defaults; remove the # to change one.
# Flags and DYCOKE_* variables override this file; `dycoke config show` prints their origins.
"""
WIDTH = 100


def settings_table(values: Mapping[str, Any], origins: Mapping[str, str], folder: Path, home: Path) -> Table:
    """Render one row per setting, in bold unless it is a default; paths are relative to the folder or home."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=36)
    table.add_column("from", overflow="fold")
    for key, value in values.items():
        style = "dim" if origins[key] == "default" else "bold"
        shown = "–" if value in (None, {}) else str(value)
        table.add_row(key, Text(shown), Text(_short(origins[key], folder, home)), style=style)
    return table


def settings_template(defaults: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """Return a settings file without effect: each key commented out, with its meaning and default."""
    parts = [HEAD]
    for key, value in defaults.items():
        meaning = textwrap.fill(meanings[key], WIDTH, initial_indent="# ", subsequent_indent="# ")
        line = yaml.safe_dump({key: value}, default_flow_style=False).strip()
        parts.append(f"{meaning}\n#{line}\n")
    return "\n".join(parts)


def _short(origin: str, folder: Path, home: Path) -> str:
    path = Path(origin)
    if path.is_relative_to(folder):
        return f"./{path.relative_to(folder)}"
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else origin
