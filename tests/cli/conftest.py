"""Signals of the process that runs the tests."""

import signal
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Signals are heard as by a fresh process at a terminal, and afterwards as before."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)]
    before, report = {number: signal.getsignal(number) for number in numbers}, sys.unraisablehook
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    sys.unraisablehook = report
    for number, handler in before.items():
        signal.signal(number, handler)
