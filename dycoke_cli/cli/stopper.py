"""Ctrl-C while a chat is at work."""

import signal
from types import FrameType, TracebackType
from typing import Any


class Stopper:
    """Takes Ctrl-C as a wish to end the answer once its words come, and as an interruption at any other time.

    A step runs to its end, whatever the device is doing; a second Ctrl-C interrupts that too. Without `active` it does
    nothing.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self.speaking = self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Stopper":
        self.speaking = self.asked = False
        if self.active:
            self._before = signal.signal(signal.SIGINT, self._hit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            signal.signal(signal.SIGINT, self._before)

    def phase(self, name: str) -> None:
        """Hears what the run is doing."""
        self.speaking = name == "decode"

    def asked_to(self) -> bool:
        """Whether the answer should end."""
        return self.asked

    def _hit(self, number: int, frame: FrameType | None) -> None:
        if not self.speaking or self.asked:
            raise KeyboardInterrupt
        self.asked = True
