"""Fixture that isolates the signal handlers of the test process."""

import signal
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Install the signal handlers of a fresh process at a terminal, and restore the previous ones afterwards."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)]
    before, report = {number: signal.getsignal(number) for number in numbers}, sys.unraisablehook
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores SIGINT
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    sys.unraisablehook = report
    for number, handler in before.items():
        signal.signal(number, handler)
