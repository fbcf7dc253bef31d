"""Print a run while it happens: answers to stdout; progress, notices and panels to stderr."""

import os
import sys
import threading
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from dycoke_cli.display.minute_lines import MinuteLines
from dycoke_cli.display.panel import answer_panel
from dycoke_cli.system.callbacks import Callbacks

if TYPE_CHECKING:
    from dycoke_cli.session.ask import Outcome

DELAY_S = 1.0  # a progress bar appears only after this time


class Terminal:
    """Prints the output of a run through `callbacks`; a context manager that removes the progress bar at its end.

    quiet: print nothing to stderr. stats: print the panel; None: only if stderr is a terminal. answers: print answers
    to stdout. several: print each question before its answer. counted: progress includes counts and the time left.
    """

    def __init__(self, quiet: bool, stats: bool | None, answers: bool, several: bool, counted: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.stats = self.console.is_terminal if stats is None else stats
        self.answers, self.several = answers, several
        self.streams = answers and sys.stdout.isatty()
        self.callbacks = Callbacks(self.notice, self.progress, self.question, self.text, self.answered)
        self.bar = DelayedBar(self.console, counted)
        self.lines = MinuteLines(self.console)
        self.amid_line = False  # stdout ends with an incomplete answer
        if quiet:
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # the hub client prints its own bars

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.drop()
        self.lines.close()
        if self.amid_line:
            self._write("\n")

    def notice(self, line: str) -> None:
        """Print one line to stderr."""
        self.console.print(Text(line, style="yellow"), soft_wrap=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """Update the progress bar, or without a terminal the line that is printed each minute."""
        self.lines.update(f"{what}, {done} of {total}" if total else what)
        if self.console.is_terminal and not self.console.quiet:
            self.bar.update(what, done, total)

    def question(self, question: str) -> None:
        """Print the question of the next answer, if there are several."""
        if self.several and self.answers:
            self.console.print(Text(f"» {question}", style="dim"), soft_wrap=True)

    def text(self, piece: str) -> None:
        """Print a piece of an answer, if stdout is a terminal."""
        self.bar.drop()
        self.lines.update("Answering")
        if self.streams:
            self._write(piece if self.amid_line else piece.lstrip())
            self.amid_line = True

    def answered(self, answer: str) -> None:
        """End the line of an answer; if stdout is not a terminal, print the whole answer."""
        self.bar.drop()
        self.lines.update("")
        if self.answers:
            self._write("\n" if self.streams else f"{answer}\n")
        self.amid_line = False

    def finish(self, outcome: "Outcome") -> None:
        """Print the panel of each answer."""
        self.bar.drop()
        if self.stats:
            for number in range(len(outcome.answers)):
                self.console.print(answer_panel(outcome, number, self.console.width))

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class DelayedBar:
    """A progress bar that appears after DELAY_S; counted: with counts and the time left."""

    def __init__(self, console: Console, counted: bool = False) -> None:
        self.console, self.counted = console, counted
        self.progress: Progress | None = None
        self.timer: threading.Timer | None = None
        self.what, self.task = "", TaskID(0)

    def update(self, what: str, done: int, total: int) -> None:
        """Set the label and the progress; a total of 0 means unknown."""
        if self.progress is None:
            counts = [TextColumn("{task.fields[count]}"), TimeRemainingColumn()] if self.counted else []
            self.progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                *counts,
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            # The main thread may block for seconds in an import, so another thread starts the bar.
            self.timer = threading.Timer(DELAY_S, self.progress.start)
            self.timer.daemon = True
            self.timer.start()
            self.what = ""
        if what != self.what:
            for task in self.progress.task_ids:
                self.progress.remove_task(task)
            self.what, self.task = what, self.progress.add_task(what, total=None, count="")
        count = f"{done} of {total}" if total else ""
        self.progress.update(self.task, completed=done, total=total or None, count=count)

    def drop(self) -> None:
        """Remove the bar."""
        if self.progress is not None and self.timer is not None:
            self.timer.cancel()
            if self.timer.is_alive():  # not if Ctrl-C came before its start
                self.timer.join()
            self.progress.stop()
            self.progress = self.timer = None
