"""Render the results as Markdown tables, and write them into the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.quality.arms import BUDGETS

START, END = "<!-- quality: made by benchmarks.quality -->", "<!-- end of quality -->"
RECALL = "describe: true facts stated"


def tables(results: dict[str, Any]) -> str:
    """Return the tables of all worlds."""
    parts = []
    for world, found in results["worlds"].items():
        arms = {arm["arm"]: arm for arm in found["arms"]}
        parts += [
            f"**{world.capitalize()} clips** ({found['clips']}, {arms['full']['answers']['n']} short answers; without "
            f"compression {_percent(arms['full']['answers'])} right, and {_percent(arms['full']['kinds'][RECALL])} of "
            "the facts stated in descriptions)",
            _first(arms),
            _second(arms),
            _survival(found["survived"]),
        ]
    return "\n\n".join(parts)


def _first(arms: dict[str, dict[str, Any]]) -> str:
    names = dict.fromkeys(label.split()[0] for label in arms if len(label.split()) == 2 and label.endswith("%"))
    rows = [["first stage alone", *(f"{budget:.1%} kept" for budget in BUDGETS)]]
    for name in names:
        cells = (arms.get(f"{name} {budget:.1%}") for budget in BUDGETS)
        rows.append([name, *("" if arm is None else _difference(arm) for arm in cells)])
    return _markdown(rows)


def _second(arms: dict[str, dict[str, Any]]) -> str:
    rows = [["at each step", "enters", "read a step", "short answers", "facts stated"]]
    for label, arm in arms.items():
        if "p=" in label:
            told = arm["kinds"][RECALL]
            shares = [f"{arm['prefill']:.1%}", f"{arm['read']:.1%}"]
            rows.append([label, *shares, _difference(arm), _percent(told)])
    return _markdown(rows)


def _survival(rows: list[dict[str, Any]]) -> str:
    found = {row["arm"]: row for row in rows}
    names = dict.fromkeys(label.split()[0] for label in found)
    table = [["tokens kept of short events", *(f"{budget:.1%} kept" for budget in BUDGETS)]]
    for name in names:
        cells = (found.get(f"{name} {budget:.1%}") for budget in BUDGETS)
        table.append([name, *("" if cell is None else _percent(cell) for cell in cells)])
    return _markdown(table)


def _difference(arm: dict[str, Any]) -> str:
    low, high = (f"{100 * bound:+.1f}" for bound in arm["difference"]["interval"])
    return f"{100 * arm['difference']['share']:+.1f} ({low} to {high})"


def _percent(share: dict[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['share']:.1%} ({low:.1%} to {high:.1%})"


def _markdown(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "| --- |" + " ---: |" * (len(rows[0]) - 1), *body])


def into_readme(path: Path, text: str) -> None:
    """Write the tables between their markers. Raises ValueError if a marker is missing."""
    before, start, rest = path.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{path} has no place for the tables: {START} ... {END}")
    path.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")
