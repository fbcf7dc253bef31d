"""Ctrl-C during a turn of a chat: stop the answer, or interrupt the turn."""

import signal
from types import FrameType, TracebackType
from typing import Any


class Stopper:
    """A context manager in which Ctrl-C during decoding requests the end of the answer, and else interrupts.

    The current step is completed first; a second Ctrl-C interrupts it. If not `active`, Ctrl-C is not handled.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self.decoding = self.requested = False
        self._before: Any = None

    def __enter__(self) -> "Stopper":
        self.decoding = self.requested = False
        if self.active:
            self._before = signal.signal(signal.SIGINT, self._on_sigint)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            signal.signal(signal.SIGINT, self._before)

    def phase(self, name: str) -> None:
        """Set the phase of the run: a callback of `Callbacks.phase`."""
        self.decoding = name == "decode"

    def stop_requested(self) -> bool:
        """Return whether the answer should end."""
        return self.requested

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        if not self.decoding or self.requested:
            raise KeyboardInterrupt
        self.requested = True
