"""Headings, columns, cells and number formats that several result tables share."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from dycoke_cli.display.panel import NOT_MEASURED

if TYPE_CHECKING:
    from dycoke_cli.comparison.summary import Spread

UNITS = {"s": 1.0, "ms": 1e-3, "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}


def title(text: str) -> Text:
    """Return the heading of a table. A rich.Table folds its own title to the width of the table."""
    return Text(text, style="bold")


def figures_table(
    labels: Iterable[str],
    figures: Iterable[str],
    min_width: int | None = None,
    max_width: int | None = None,
    wrap: bool = True,
) -> Table:
    """Return an empty table: columns of labels, between the widths, then right-aligned columns of figures.

    wrap: False truncates a figure that does not fit instead of folding it.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in labels:
        table.add_column(name, overflow="fold", min_width=min_width, max_width=max_width)
    for name in figures:
        table.add_column(name, justify="right", overflow="fold" if wrap else "ellipsis", no_wrap=not wrap)
    return table


def note(text: str) -> Text:
    """Return a line of explanation below the tables."""
    return Text(text, style="dim")


def spread_cell(
    spread: "Spread | None", repeats: int, written: Callable[[float], str], repeat_unit: bool = True
) -> Text:
    """Return a median, and on a second line the range if there is one.

    written: formats a value with its unit. repeat_unit: False omits the unit of the range if the median has the same.
    """
    if spread is None:
        return Text(NOT_MEASURED)
    median = written(spread.median)
    cell = Text(median)
    if repeats > 1 and written(spread.min) != written(spread.max):
        extent = span(spread.min, spread.max, written)
        cell.append(f"\n{extent if repeat_unit else extent.removesuffix(f' {median.split()[1]}')}", style="dim")
    return cell


def span(low: float, high: float, written: Callable[[float], str]) -> str:
    """Format a range in the unit and with the decimals that `written` uses for its upper end."""
    number, unit = written(high).split()
    decimals = len(number.partition(".")[2])
    return f"{low / UNITS[unit]:.{decimals}f}–{number} {unit}"


def share(value: float | None, decimals: int = 1) -> str:
    """Format a share in percent, from 1000 % on as a multiple; a dash for None."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.{decimals}%}" if value < 10 else f"{value:.1f}×"


def times(value: float | None) -> str:
    """Format a speed-up; a dash for None."""
    return NOT_MEASURED if value is None else f"{value:.2f}×"


def flops(value: float) -> str:
    """Format a number of operations: 1.23 G, 17.9 T."""
    number, unit = float(value), 0
    units = ("", " k", " M", " G", " T", " P")
    while number >= 999.5 and unit < len(units) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g}{units[unit]}"
