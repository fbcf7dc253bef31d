"""Handlers of Ctrl-C and SIGTERM, which batch systems send before SIGKILL: the first ends a run, the second at once.

In a chat, the first Ctrl-C stops only an answer.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

INTERRUPTED = 130  # the exit code
RAISE_AGAIN_S = 0.01
DUPLICATE_S = 1.0  # GNU timeout sends SIGTERM to its child and then to the child's group: one request, received twice


class Terminated(KeyboardInterrupt):
    """SIGTERM. Handled like Ctrl-C, except that it ends a chat instead of stopping one answer."""


class _StopRequests:
    """Distinguishes a new request to stop from a duplicate of the last SIGTERM; clock: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.terminated_s = -DUPLICATE_S  # time of the last SIGTERM that was not a duplicate

    def is_new(self, number: int) -> bool:
        if number != signal.SIGTERM:
            return True
        now = self.clock()
        if now - self.terminated_s < DUPLICATE_S:
            return False
        self.terminated_s = now
        return True


class Termination:
    """A SIGTERM handler that raises Terminated at the first signal, and ends the process at a later one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, end: Callable[[int], Any] = os._exit) -> None:
        self.requests, self.end = _StopRequests(clock), end
        self.received = False

    def install(self) -> None:
        """Install the handler, unless SIGTERM is already handled or ignored."""
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        signal.signal(signal.SIGTERM, self._on_sigterm)
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._raise)
            self.report, sys.unraisablehook = sys.unraisablehook, self._on_unraisable

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if not self.requests.is_new(number):
            return
        if self.received:
            self.end(INTERRUPTED)
        self.received = True
        raise Terminated

    def _on_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise Terminated again after RAISE_AGAIN_S if C code or a finalizer could not propagate it."""
        if isinstance(unraisable.exc_value, Terminated):
            signal.setitimer(signal.ITIMER_REAL, RAISE_AGAIN_S)
        else:
            self.report(unraisable)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise Terminated


class Interrupt:
    """A context manager that handles Ctrl-C and SIGTERM; `requested` is True after the first of them.

    on_request: called once, at the first. The second raises KeyboardInterrupt in the main thread.
    """

    def __init__(self, on_request: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.on_request, self.requested = on_request, False
        self.requests = _StopRequests(clock)
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM)
            self.before = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.requests.is_new(number):
            return
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.on_request()


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

    def __exit__(self, *error: object) -> None:
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
