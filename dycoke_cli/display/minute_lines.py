"""Progress where no terminal shows a bar: a line a minute, for the log of a batch system."""

import threading
import time
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

MINUTE_S = 60.0


class MinuteLines:
    """Prints the newest line that it was given, with the time since its first, every so many seconds.

    A thread prints, since a single step of a run may take many minutes. On a terminal, and where the console is quiet,
    nothing is printed. every_s: the time between two lines, and before the first.
    """

    def __init__(self, console: "Console", every_s: float = MINUTE_S) -> None:
        self.console, self.every_s = console, every_s
        self.active = not (console.is_terminal or console.quiet)
        self.line = ""
        self.thread: threading.Thread | None = None
        self.closed = threading.Event()

    def update(self, line: str) -> None:
        """Say how far the run is; an empty line says that there is nothing to tell."""
        self.line = line
        if self.active and self.thread is None:
            self.thread = threading.Thread(target=self._print_lines, name="minute lines", daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Print nothing more."""
        self.closed.set()
        if self.thread is not None and self.thread.is_alive():  # Ctrl-C may have come before it was started
            self.thread.join()

    def _print_lines(self) -> None:
        begun = time.monotonic()
        while not self.closed.wait(self.every_s):
            if self.line:
                self.console.print(Text(f"{clock(time.monotonic() - begun)}  {self.line}"), soft_wrap=True)


def clock(seconds: float) -> str:
    """Write a time as 0:42 or 3:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
