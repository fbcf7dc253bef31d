"""Render an evaluation as tables, and build its JSON object."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dycoke_cli.display.cells import figures_table, share, title
from dycoke_cli.display.panel import NOT_MEASURED
from dycoke_cli.display.records import SCHEMA, record_of

if TYPE_CHECKING:
    from dycoke_cli.evaluation.summary import Score, Summary

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
        retained = ((row.method, share(row.prefill), share(row.per_step)) for row in summary.retained)
        yield _table(("method", "entered", "read per step"), retained)
    if summary.failures:
        yield title("Not answered")
        yield _table(("why", "answers"), ((failure.error, str(failure.answers)) for failure in summary.failures))
    if not summary.complete:
        yield Text(f"Incomplete: {len(summary.records)} of {summary.expected} answers.", style="yellow")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> Table:
    table = figures_table(columns[:1], columns[1:], wrap=False)
    for label, *figures in rows:
        table.add_row(Text(label), *figures)
    return table


def _accuracies(summary: "Summary") -> Table:
    """Return a table of methods grouped by question type, or of types if there is a single method."""
    single = len(summary.overall) == 1
    table = _table(("type" if single else "method", "n", "accuracy", "95 % interval"))
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
        return str(score.n), NOT_MEASURED, NOT_MEASURED
    low, high = score.interval
    return str(score.n), f"{score.accuracy:.1%}", f"{low * 100:.1f} to {high:.1%}"


def _differences(summary: "Summary", roomy: bool) -> Table:
    counts = ("better", "worse") if roomy else ()
    rows = []
    for method, found in summary.differences:
        interval = NOT_MEASURED if found.interval is None else " to ".join(map(points, found.interval))
        questions = [str(getattr(found, name)) for name in counts]
        rows.append((method, points(found.difference), interval, *questions, str(found.videos)))
    return _table(("method", "points", "95 % interval", *counts, "videos"), rows)


def points(difference: float) -> str:
    """Format a difference of shares in percentage points, with its sign and without negative zero."""
    rounded = round(difference * 100, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def summary_record(summary: "Summary", described: dict[str, Any]) -> dict[str, Any]:
    """Build the object of `eval --json`; described: the questions, the model and the methods."""
    first = summary.overall[0].method
    return {
        "schema": SCHEMA,
        **described,
        "accuracy": [asdict(score) for score in summary.by_type],
        "overall": [record_of(score, "type") for score in summary.overall],
        "differences": [
            {"method": method, "reference": first, **asdict(found)} for method, found in summary.differences
        ],
        "retained": [asdict(row) for row in summary.retained],
        "unanswered": [asdict(failure) for failure in summary.failures],
        "complete": summary.complete,
        "items": [{"item": item, **asdict(record)} for (item, _), record in summary.records.items()],
    }
