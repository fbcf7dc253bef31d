"""A peak is what a run needs, whatever ran before it."""

import numpy as np
import pytest
import torch

from dycoke_cli.system.measure import PeakMemory

PIECES, PIECE = 4000, 20_000  # 80 MB in pieces that an allocator keeps when they are freed


def work() -> int:
    return sum(int(np.ones(1)[0]) for _ in [np.ones(PIECE, np.uint8) for _ in range(PIECES)])


def test_the_second_run_needs_as_much_as_the_first() -> None:
    """Memory that an earlier run has freed is counted again for the next one."""
    peak, seen = PeakMemory(torch.device("cpu")), []
    if peak.start is None:
        pytest.skip("this system does not tell a process's peak")
    for _ in range(3):
        peak.restart()
        work()
        seen.append(peak.above_start)
    assert min(seen) > 0.9 * PIECES * PIECE
