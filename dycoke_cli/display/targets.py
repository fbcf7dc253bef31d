"""Render the project's targets as a table: bound, measured figure, and verdict."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from dycoke_cli.display.cells import figures_table
from dycoke_cli.display.panel import NOT_MEASURED

if TYPE_CHECKING:
    from dycoke_cli.bench.target import Verdict

MET = {True: ("met", "green"), False: ("missed", "red"), None: ("not measured", "dim")}


def target_table(verdicts: "Sequence[Verdict]") -> Iterator[RenderableType]:
    """Yield the table of targets with bound, measured figure and verdict."""
    yield Text("\nTargets", style="bold")
    table = figures_table(("of dycoke, K=0.7 and P=0.7",), ("bound", "measured"), wrap=False)
    table.add_column("", no_wrap=True)
    for setup, group in groupby(verdicts, key=lambda verdict: verdict.target.setup):
        table.add_row(Text(setup.text, style="cyan"))
        reasons: dict[str, None] = {}
        for verdict in group:
            word, style = MET[verdict.met]
            measured = figure(verdict.value, verdict.target.unit)
            table.add_row(f"  {verdict.target.text}", bound(verdict), measured, Text(word, style=style))
            if verdict.met is None:
                reasons[verdict.reason] = None
        for reason in reasons:
            table.add_row(Text(f"  ({reason}: {setup.command})", style="dim"))
    yield table


def bound(verdict: "Verdict") -> str:
    """Format the bound of a target: ≥ 1.9×, ≤ 60% or ≤ 3 ms."""
    target = verdict.target
    return limit(target.at_least, target.bound, target.unit)


def limit(at_least: bool, value: float, unit: str) -> str:
    """Format a bound from its value and unit."""
    formats = {"%": f"{value:.0%}", "×": f"{value:g}×", "ms": f"{value:g} ms"}
    return f"{'≥' if at_least else '≤'} {formats[unit]}"


def figure(value: float | None, unit: str) -> str:
    """Format the figure of a target, with enough decimals to compare it with the bound; a dash for None."""
    if value is None:
        return NOT_MEASURED
    formats = {"%": f"{value:.1%}", "×": f"{value:.3f}×", "ms": f"{value:.2f} ms"}
    return formats[unit]
