"""What this machine can do at most, measured: moving bytes, and multiplying matrices."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from dycoke_cli.system.measure import Stopwatch

TRIALS = 5
TRIAL_S = 0.1  # at least; short ones are mostly clock
COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}  # far more than any cache holds
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}


class Limits(NamedTuple):
    """The best of several trials."""

    copy_bytes_per_s: float  # read and written bytes both count
    matrix_flops_per_s: float  # a multiply-add as two
    dtype: str  # of the matrices
    threads: int | None  # of the CPU; None on another device


def measure_limits(device: torch.device, dtype: torch.dtype) -> Limits:
    """Copy a large buffer and multiply square matrices, each for about half a second."""
    copies, products = _copies(device), _products(device, dtype)
    side = MATRIX_SIDE[device.type]
    threads = torch.get_num_threads() if device.type == "cpu" else None
    return Limits(
        2 * COPY_BYTES[device.type] * copies, 2 * side**3 * products, str(dtype).removeprefix("torch."), threads
    )


def _copies(device: torch.device) -> float:
    """Give how many large copies are done in a second."""
    source = torch.ones(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _best_rate(lambda: target.copy_(source), device)


def _products(device: torch.device, dtype: torch.dtype) -> float:
    """Give how many products of square matrices are done in a second."""
    side = MATRIX_SIDE[device.type]
    # Not zeros: a GPU draws less power for those, and is faster than it ever is on real numbers.
    left, right = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(left)
    return _best_rate(lambda: torch.mm(left, right, out=out), device)


def _best_rate(work: Callable[[], object], device: torch.device) -> float:
    """Give how often a second `work` gets done, at best."""
    watch, often = Stopwatch(device), 1
    work()
    rates: list[float] = []
    deadline = time.perf_counter() + 20 * TRIALS * TRIAL_S  # a machine this slow has shown enough
    while len(rates) < TRIALS and (not rates or time.perf_counter() < deadline):
        watch.restart()
        for _ in range(often):
            work()
        seconds = watch.lap()
        if seconds < TRIAL_S / 2:
            often = max(2 * often, int(often * TRIAL_S / max(seconds, 1e-6)))
            continue
        rates.append(often / seconds)
    return max(rates)
