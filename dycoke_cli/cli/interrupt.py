"""Ctrl-C, and SIGTERM as batch systems send it before they kill: the first ends a run, another one ends it at once."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

INTERRUPTED = 130  # the exit code
AGAIN_S = 0.01
TWICE_S = 1.0  # GNU timeout sends SIGTERM to its child and then to the child's group: one wish, delivered twice


class Terminated(KeyboardInterrupt):
    """SIGTERM: what Ctrl-C does, and unlike it not to be taken as a wish to stop one answer of several."""


class _Wishes:
    """Tells a further wish to end from one SIGTERM that is delivered several times; clock: seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.terminated_s = -TWICE_S  # of the last one that was a wish of its own

    def is_new(self, number: int) -> bool:
        if number != signal.SIGTERM:
            return True
        now = self.clock()
        if now - self.terminated_s < TWICE_S:
            return False
        self.terminated_s = now
        return True


class Termination:
    """Raises Terminated where the process is at its first SIGTERM, and ends the process at a later one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, end: Callable[[int], Any] = os._exit) -> None:
        self.wishes, self.end = _Wishes(clock), end
        self.heard = False

    def install(self) -> None:
        """Hear SIGTERM from now on; where a parent had it ignored, it stays ignored."""
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        signal.signal(signal.SIGTERM, self._hear)
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._raise)
            self.report, sys.unraisablehook = sys.unraisablehook, self._unraisable

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self.wishes.is_new(number):
            return
        if self.heard:
            self.end(INTERRUPTED)
        self.heard = True
        raise Terminated

    def _unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise Terminated again, a moment later, where C code or a finalizer could not pass it on."""
        if isinstance(unraisable.exc_value, Terminated):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            self.report(unraisable)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise Terminated


class Interrupt:
    """Whether a run was asked to stop; a context manager that hears Ctrl-C and SIGTERM.

    tell: called once, when it was. The second time KeyboardInterrupt is raised, wherever the run is.
    """

    def __init__(self, tell: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.tell, self.asked = tell, False
        self.wishes = _Wishes(clock)
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self.wishes.is_new(number):
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.tell()
