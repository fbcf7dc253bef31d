"""Print progress as a line per minute where there is no terminal, for the log of a batch system."""

import threading
import time
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

MINUTE_S = 60.0


class MinuteLines:
    """Print the latest line every `every_s` seconds, with the time since the first update.

    A thread prints, because a single step of a run may take many minutes. On a terminal, or with a quiet console,
    nothing is printed. every_s: the time between two lines, and before the first.
    """

    def __init__(self, console: "Console", every_s: float = MINUTE_S) -> None:
        self.console, self.every_s = console, every_s
        self.active = not (console.is_terminal or console.quiet)
        self.line = ""
        self.thread: threading.Thread | None = None
        self.closed = threading.Event()

    def update(self, line: str) -> None:
        """Set the line to print; an empty one suppresses printing."""
        self.line = line
        if self.active and self.thread is None:
            self.thread = threading.Thread(target=self._print_lines, name="minute lines", daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Stop printing and end the thread."""
        self.closed.set()
        if self.thread is not None and self.thread.is_alive():  # Ctrl-C may arrive before the thread starts
            self.thread.join()

    def _print_lines(self) -> None:
        begun = time.monotonic()
        while not self.closed.wait(self.every_s):
            if self.line:
                self.console.print(Text(f"{clock(time.monotonic() - begun)}  {self.line}"), soft_wrap=True)


def clock(seconds: float) -> str:
    """Format seconds as 0:42 or 3:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
