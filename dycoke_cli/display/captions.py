"""Render a captioning run: progress, summary, and the estimate of a dry run."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from dycoke_cli.display.minute_lines import MINUTE_S, MinuteLines, clock
from dycoke_cli.display.panel import size
from dycoke_cli.display.records import SCHEMA

if TYPE_CHECKING:
    from dycoke_cli.captioning.estimate import Estimate
    from dycoke_cli.captioning.run import Tally
    from dycoke_cli.captioning.summary import Summary

SHOWN = 20  # videos that a dry run lists
TIME_LABELS = {
    "decode_video": "video decoding, parallel to the model",
    "vision": "vision",
    "prefill": "prefill",
    "decode": "decode",
    "waited": "model waiting for videos",
}


class CaptionProgress:
    """A progress bar with counts of done, failed and skipped videos, the speed and the remaining time.

    A context manager that removes the bar at the end. Without a terminal, as in the log of a cluster, it prints a line
    every minute instead.
    """

    def __init__(self, console: Console, every_s: float = MINUTE_S) -> None:
        self.lines = MinuteLines(console, every_s)
        self.progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[counts]}"),
            TextColumn("{task.fields[left]}", style="cyan", table_column=Column()),  # folds on a narrow terminal
            console=console,
            transient=True,
            disable=not console.is_terminal or console.quiet,
        )
        self.task = self.progress.add_task("", total=None, counts="", left="", visible=False)

    def __enter__(self) -> "CaptionProgress":
        self.progress.start()
        self.lines.update("0 done")  # loading a large model takes minutes
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
        self.lines.close()

    def update(self, tally: "Tally") -> None:
        """Update the bar or the line from the counts of the run."""
        text = counts(tally)
        self.lines.update(text)
        ended = len(tally.records)
        left = tally.total - tally.kept - ended
        self.progress.update(
            self.task,
            completed=tally.total - left,
            total=tally.total,
            counts=text,
            # At the mean speed of the run so far.
            left=f"{clock(left * tally.elapsed_s / ended)} left" if ended else "",
            visible=True,
        )


def counts(tally: "Tally") -> str:
    """Return the counts and the speed of a run: `12 done · 1 failed · 30 clips/min`."""
    parts = [f"{tally.done} done"]
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    if tally.kept:
        parts.append(f"{tally.kept} skipped")
    if tally.records:
        parts.append(f"{len(tally.records) * 60 / tally.elapsed_s:.0f} clips/min")
    return " · ".join(parts)


def summary_table(summary: "Summary") -> list[RenderableType]:
    """Return the tables printed at the end of a run: counts and times, then failures by reason."""
    figures = _labelled(_rows(summary))
    if not summary.failures:
        return [figures, Text("")]
    failures = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    failures.add_column("failed", no_wrap=True)
    failures.add_column("videos", justify="right", no_wrap=True)
    failures.add_column("such as", overflow="fold")
    for reason in summary.failures:
        failures.add_row(Text(reason.reason), str(reason.videos), Text(visible(reason.example)))
    return [figures, failures]


def _rows(summary: "Summary") -> list[tuple[str, str]]:
    rows = [("videos", f"{summary.videos:,}"), ("captioned", f"{summary.captioned:,}")]
    for label, value in (("skipped, still valid", summary.kept), ("failed", summary.failed), ("left", summary.left)):
        if value:
            rows.append((label, f"{value:,}"))
    if summary.per_minute is None:
        return rows
    rows.append(("time", clock(summary.elapsed_s)))
    rows.append(("clips a minute", f"{summary.per_minute:.1f}"))
    if summary.retained is not None:
        rows.append(("visual tokens retained", f"{summary.retained:.1%}"))
        rows.append(("new tokens", f"{summary.generated:,}"))
    if summary.batch is not None:
        rows.append(("clips in a batch, mean", f"{summary.batch:.1f}"))
        rows += [(label, f"{getattr(summary.time_s, name):.1f} s") for name, label in TIME_LABELS.items()]
    return rows


def estimate_table(estimate: "Estimate") -> list[RenderableType]:
    """Return what `--dry-run` prints: the videos, then the tokens and memory of each and of a batch."""
    names = [Text(visible(id)) for id in estimate.todo[:SHOWN]]
    if len(estimate.todo) > SHOWN:
        names.append(Text(f"and {len(estimate.todo) - SHOWN:,} more"))
    rows = [("would be captioned", f"{len(estimate.todo):,}"), ("kept from before", f"{estimate.kept:,}")]
    rows += [("left for later by --limit", f"{estimate.put_off:,}")] if estimate.put_off else []
    rows += [
        ("frames of each, at most", f"{estimate.frames:,}"),
        ("visual tokens of each, at most", f"{estimate.visual_tokens:,}"),
        ("prompt tokens of each, compressed", f"{estimate.prompt_tokens:,}"),
        ("videos in a batch", f"{estimate.batch:,}"),
        ("weights", size(estimate.weights_bytes)),
        ("each video of a batch, estimated", size(estimate.row_bytes)),
        ("whole batch and weights, estimated", size(estimate.total_bytes)),
        ("free now", size(estimate.free_bytes)),
    ]
    return [*names, *([Text("")] if names else []), _labelled(rows)]


def _labelled(rows: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column("", style="dim", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def summary_record(summary: "Summary", described: dict[str, Any]) -> dict[str, Any]:
    """Build the object of `caption --json`; described: the inputs, the model and the method."""
    return {"schema": SCHEMA, **described, **asdict(summary), "left": summary.left}


def visible(text: str) -> str:
    """Escape line breaks and other unprintable characters, which file names may contain."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text)
