"""Render an evaluation as tables, and build its JSON object."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dycoke_cli.display.cells import title

if TYPE_CHECKING:
    from dycoke_cli.evaluation.summary import Score, Summary

SCHEMA = 1
UNKNOWN = "–"
NO_TYPE = "(no type)"
ROOMY = 60  # columns of a terminal; a narrower one gets fewer columns


def summary_tables(summary: "Summary", width: int) -> Iterator[RenderableType]:
    """Yield the tables of `eval` for a terminal of `width` columns: accuracies, differences, retained tokens,
    failures."""
    first = summary.overall[0].method
    yield title("Accuracy" if len(summary.overall) > 1 else f"Accuracy of {first}")
    yield _accuracies(summary)
    if summary.differences:
        yield title(f"Difference to {first} on the same questions, in percentage points")
        yield _differences(summary, width >= ROOMY)
    if summary.retained:
        yield title("Visual tokens, as shares of the whole video")
        yield _retained(summary)
    if summary.failures:
        yield title("Not answered")
        yield _failures(summary)
    if not summary.complete:
        yield Text(f"Incomplete: {len(summary.records)} of {summary.expected} answers.", style="yellow")


def _table(first: str, *figures: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _accuracies(summary: "Summary") -> Table:
    """Return a table of methods grouped by question type, or of types if there is a single method."""
    single = len(summary.overall) == 1
    table = _table("type" if single else "method", "n", "accuracy", "95 % interval")
    groups: dict[str, list[Score]] = {}
    for score in summary.by_type:
        groups.setdefault(score.type or NO_TYPE, []).append(score)
    for kind, scores in groups.items():
        if not single:
            table.add_row(Text(kind, style="cyan"))
        for score in scores:
            table.add_row(Text(kind if single else f"  {score.method}"), *_figures(score))
    if not single and groups:
        table.add_row(Text("all", style="bold cyan"))
    for score in summary.overall:
        label = "all" if single else f"  {score.method}" if groups else score.method
        table.add_row(Text(label), *_figures(score), style="bold")
    return table


def _figures(score: "Score") -> tuple[str, str, str]:
    if score.accuracy is None or score.interval is None:
        return str(score.n), UNKNOWN, UNKNOWN
    low, high = score.interval
    return str(score.n), f"{score.accuracy:.1%}", f"{low * 100:.1f} to {high:.1%}"


def _differences(summary: "Summary", roomy: bool) -> Table:
    counts = ("better", "worse") if roomy else ()
    table = _table("method", "points", "95 % interval", *counts, "videos")
    for method, found in summary.differences:
        interval = UNKNOWN if found.interval is None else " to ".join(map(points, found.interval))
        questions = [str(getattr(found, name)) for name in counts]
        table.add_row(Text(method), points(found.difference), interval, *questions, str(found.videos))
    return table


def points(share: float) -> str:
    """Format a difference of shares in percentage points, with its sign and without negative zero."""
    rounded = round(share * 100, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _retained(summary: "Summary") -> Table:
    table = _table("method", "entered", "read per step")
    for row in summary.retained:
        per_step = UNKNOWN if row.per_step is None else f"{row.per_step:.1%}"
        table.add_row(Text(row.method), f"{row.prefill:.1%}", per_step)
    return table


def _failures(summary: "Summary") -> Table:
    table = _table("why", "answers")
    for failure in summary.failures:
        table.add_row(Text(failure.error), str(failure.answers))
    return table


def summary_record(summary: "Summary") -> dict[str, Any]:
    """Build the results part of the object of `eval --json`."""
    first = summary.overall[0].method
    return {
        "accuracy": [asdict(score) for score in summary.by_type],
        "overall": [{key: value for key, value in asdict(score).items() if key != "type"} for score in summary.overall],
        "differences": [
            {"method": method, "reference": first, **asdict(found)} for method, found in summary.differences
        ],
        "retained": [asdict(row) for row in summary.retained],
        "unanswered": [asdict(failure) for failure in summary.failures],
        "complete": summary.complete,
        "items": [{"item": item, **asdict(record)} for (item, _), record in summary.records.items()],
    }
