"""Ctrl-C: the first asks a run to finish what it is at, the second ends it."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)]


class Interrupt:
    """Whether a run was asked to stop; a context manager that hears Ctrl-C, and SIGTERM, as clusters send it.

    tell: called once, when it was. The second time KeyboardInterrupt is raised, wherever the run is.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell, self.asked = tell, False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.tell()
