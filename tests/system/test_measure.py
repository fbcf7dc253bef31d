"""Peak memory of a run does not depend on earlier runs."""

import numpy as np
import pytest
import torch

from dycoke_cli.system.measure import PeakMemory

PIECES, PIECE = 4000, 20_000  # 80 MB in pieces small enough that malloc keeps them when they are freed


def work() -> int:
    return sum(int(np.ones(1)[0]) for _ in [np.ones(PIECE, np.uint8) for _ in range(PIECES)])


def test_the_second_run_needs_as_much_as_the_first() -> None:
    """Memory that an earlier run has freed counts again in the next run."""
    peak, peaks = PeakMemory(torch.device("cpu")), []
    if peak.start is None:
        pytest.skip("this system does not report a process's peak")
    for _ in range(3):
        peak.restart()
        work()
        peaks.append(peak.above_start)
    assert min(peaks) > 0.9 * PIECES * PIECE
