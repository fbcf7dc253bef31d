"""The result of an evaluation: tables for people, one object for scripts."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from dycoke_cli.evaluation.statistics import Interval
    from dycoke_cli.evaluation.summary import Score, Summary

SCHEMA = 1
NOTHING = "–"
NO_TYPE = "(no type)"


def summary_tables(summary: "Summary") -> Iterator[RenderableType]:
    """Make what `eval` prints: accuracies, differences, retained tokens, and what was not answered."""
    yield _accuracies(summary)
    if summary.differences:
        yield _differences(summary)
    if summary.retained:
        yield _retained(summary)
    if summary.failures:
        yield _failures(summary)
    if not summary.complete:
        yield Text(f"Incomplete: {len(summary.records)} of {summary.expected} answers.", style="yellow")


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
    )


def _accuracies(summary: "Summary") -> Table:
    table = _table("Accuracy")
    table.add_column("type", overflow="fold")
    table.add_column("method", overflow="fold")
    for name in ("n", "accuracy", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    if summary.failures:
        table.add_column("not answered", justify="right", min_width=8)
    rows = [(score.type or NO_TYPE, score, "") for score in summary.by_type]
    rows += [("all", score, "bold") for score in summary.overall]
    for number, (kind, score, style) in enumerate(rows):
        again = number > 0 and rows[number - 1][0] == kind and rows[number - 1][2] == style
        last = number + 1 == len(rows) or rows[number + 1][0] != kind or rows[number + 1][2] != style
        cells = [Text("" if again else kind), Text(score.method), *_cells(score)]
        cells = cells if summary.failures else cells[:-1]
        table.add_row(*cells, style=style, end_section=last and number + 1 < len(rows))
    return table


def _cells(score: "Score") -> list[Text]:
    share = NOTHING if score.accuracy is None else f"{score.accuracy:.1%}"
    low_high = NOTHING if score.interval is None else f"{score.interval[0]:.1%} to {score.interval[1]:.1%}"
    return [Text(str(score.n)), Text(share), Text(low_high), Text(str(score.unanswered or ""))]


def _differences(summary: "Summary") -> Table:
    first = summary.overall[0].method
    table = _table(f"Difference to {first}, same questions, in percentage points")
    table.add_column("method", overflow="fold")
    for name in ("accuracy", "95 % interval", "better", "worse", "videos"):
        table.add_column(name, justify="right", no_wrap=name != "videos")
    for method, found in summary.differences:
        counts = (found.better, found.worse, found.videos)
        table.add_row(Text(method), points(found.difference), _span(found.interval), *map(str, counts))
    return table


def _span(interval: "Interval | None") -> str:
    return NOTHING if interval is None else f"{points(interval[0])} to {points(interval[1])}"


def points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign and no negative zero."""
    rounded = round(share * 100, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _retained(summary: "Summary") -> Table:
    table = _table("Visual tokens, of all of the video")
    table.add_column("method", overflow="fold")
    for name in ("entered", "read per step"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary.retained:
        per_step = NOTHING if row.per_step is None else f"{row.per_step:.1%}"
        table.add_row(Text(row.method), f"{row.prefill:.1%}", per_step)
    return table


def _failures(summary: "Summary") -> Table:
    table = _table("Not answered")
    table.add_column("answers", justify="right")
    table.add_column("why", overflow="fold")
    for failure in summary.failures:
        table.add_row(str(failure.answers), Text(failure.error))
    return table


def summary_record(summary: "Summary") -> dict[str, Any]:
    """Build what the object of `eval --json` says of the results."""
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
