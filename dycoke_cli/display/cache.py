"""Render the list of encoded videos in the cache."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dycoke_cli.display.panel import size

if TYPE_CHECKING:
    from dycoke_cli.cache.entry import Entry


def encoded_lines(folder: Path, limit: int, entries: "Sequence[Entry]", used: bool) -> Iterator[RenderableType]:
    """Yield the folder, the total size, and a table of the entries, last used first; used: the setting `cache`."""
    yield Text(str(folder))
    total = sum(entry.bytes for entry in entries)
    off = "" if used else "; turned off by cache: false in the settings"
    yield Text(f"{len(entries)} encoded videos, {size(total)} of at most {limit / 1e9:g} GB{off}")
    if not entries:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("last used", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("frames", justify="right")
    table.add_column("model", overflow="fold")
    table.add_column("video", overflow="fold")
    for entry in entries:
        when = datetime.fromtimestamp(entry.used_s).strftime("%Y-%m-%d %H:%M")
        head = entry.head
        table.add_row(
            when, size(entry.bytes), str(entry.frames), Text(str(head.get("model"))), Text(str(head.get("path")))
        )
    yield table
