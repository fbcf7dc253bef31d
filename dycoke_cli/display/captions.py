"""A run over many videos: its progress while it goes on, and what it came to."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from dycoke_cli.display.minute_lines import MINUTE_S, MinuteLines, clock
from dycoke_cli.display.panel import size

if TYPE_CHECKING:
    from dycoke_cli.captioning.estimate import Estimate
    from dycoke_cli.captioning.run import Tally
    from dycoke_cli.captioning.summary import Summary

SCHEMA = 1
SHOWN = 20  # videos that a dry run names
SPLIT = {
    "decode_video": "video decoding, beside the model",
    "vision": "vision",
    "prefill": "prefill",
    "decode": "decode",
    "waited": "model waiting for videos",
}


class CaptionProgress:
    """A bar with what is done, failed and skipped, how fast it goes and what is left.

    A context manager that leaves no bar behind. Where there is no terminal, as in the log of a cluster, it is a line
    every minute.
    """

    def __init__(self, console: Console, every_s: float = MINUTE_S) -> None:
        self.lines = MinuteLines(console, every_s)
        self.progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[counts]}"),
            _LeftColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal or console.quiet,
        )
        self.task = self.progress.add_task("", total=None, counts="", left_s=None, visible=False)

    def __enter__(self) -> "CaptionProgress":
        self.progress.start()
        self.lines.update("0 done")  # a large model loads for minutes
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
        self.lines.close()

    def update(self, tally: "Tally") -> None:
        """Show how far a run is."""
        told = counts(tally)
        self.lines.update(told)
        ended = len(tally.records)
        left = tally.total - tally.kept - tally.kept_failed - ended
        self.progress.update(
            self.task,
            completed=tally.total - left,
            total=tally.total,
            counts=told,
            left_s=left * tally.elapsed_s / ended if ended else None,
            visible=True,
        )


class _LeftColumn(ProgressColumn):
    """The time that is left, at the speed of the run so far."""

    def render(self, task: Task) -> Text:
        """Show it as clock time; nothing before anything is done."""
        seconds = task.fields["left_s"]
        return Text("" if seconds is None else f"{clock(seconds)} left", style="cyan")


def counts(tally: "Tally") -> str:
    """Say in a few words how far a run is."""
    parts = [f"{tally.done} done"]
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    if skipped := tally.kept + tally.kept_failed:
        parts.append(f"{skipped} skipped")
    if tally.records:
        parts.append(f"{len(tally.records) * 60 / tally.elapsed_s:.0f} clips/min")
    return " · ".join(parts)


def summary_table(summary: "Summary") -> list[RenderableType]:
    """Make what is printed at the end."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column("", style="dim", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    for label, value in _rows(summary):
        table.add_row(label, value)
    parts: list[RenderableType] = [table]
    if not summary.failures:
        parts.append(Text(""))
    else:
        failures = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        failures.add_column("failed", no_wrap=True)
        failures.add_column("videos", justify="right", no_wrap=True)
        failures.add_column("such as", overflow="fold")
        for reason in summary.failures:
            failures.add_row(Text(reason.reason), str(reason.videos), Text(visible(reason.example)))
        parts.append(failures)
    return parts


def _rows(summary: "Summary") -> list[tuple[str, str]]:
    rows = [("videos", f"{summary.videos:,}"), ("captioned", f"{summary.captioned:,}")]
    for label, value in (("skipped, still hold", summary.kept), ("failed", summary.failed), ("left", summary.left)):
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
        rows += [(label, f"{getattr(summary.time_s, name):.1f} s") for name, label in SPLIT.items()]
    return rows


def estimate_table(estimate: "Estimate") -> list[RenderableType]:
    """Make what `--dry-run` prints: the videos, then what each takes and what all take together."""
    names = [Text(visible(id)) for id in estimate.todo[:SHOWN]]
    if len(estimate.todo) > SHOWN:
        names.append(Text(f"and {len(estimate.todo) - SHOWN:,} more"))
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column("", style="dim", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    rows = [("would be captioned", f"{len(estimate.todo):,}"), ("kept from before", f"{estimate.kept:,}")]
    rows += [("left for later by --limit", f"{estimate.put_off:,}")] if estimate.put_off else []
    rows += [
        ("frames of each, at most", f"{estimate.frames:,}"),
        ("visual tokens of each, at most", f"{estimate.visual_tokens:,}"),
        ("prompt tokens of each, compressed", f"{estimate.prompt_tokens:,}"),
        ("videos in a batch", f"{estimate.batch:,}"),
        ("weights", size(estimate.weights_bytes)),
        ("each video of a batch, estimated", size(estimate.row_bytes)),
        ("all of it, estimated", size(estimate.total_bytes)),
        ("free now", size(estimate.free_bytes)),
    ]
    for row in rows:
        table.add_row(*row)
    return [*names, *([Text("")] if names else []), table]


def summary_record(summary: "Summary", described: dict[str, Any]) -> dict[str, Any]:
    """Build the object of `caption --json`; `described` says of what, and how it was made."""
    return {"schema": SCHEMA, **described, **asdict(summary), "left": summary.left}


def visible(text: str) -> str:
    """Show line breaks, which names may hold, instead of obeying them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode("ascii") for c in text)
