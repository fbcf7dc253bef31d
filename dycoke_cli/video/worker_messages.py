"""The line on which a child tells its parent that it lives, and what it found."""

import json
import time
from typing import IO, Any

_BEAT_S = 0.25


class Reporter:
    """Messages as JSON lines, each of one `kind`: begun, beat, progress, frames or error."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last_s = 0.0

    def send(self, **message: Any) -> None:
        """Says one thing."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()
        self._last_s = time.monotonic()

    def beat(self) -> None:
        """Says that work goes on, at most four times a second."""
        if time.monotonic() - self._last_s >= _BEAT_S:
            self.send(kind="beat")
