"""Measure the limits of this machine: memory bandwidth and matrix multiplication rate."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dycoke_cli.system.measure import Stopwatch

TRIALS = 5
TRIAL_S = 0.1  # the least length: in a shorter trial the overhead of the clock dominates
COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}  # far larger than any processor cache
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class Limits:
    """Rates of this machine, each the best of several trials."""

    copy_bytes_per_s: float  # bytes read plus bytes written
    matrix_flops_per_s: float  # a multiply-add counts as two
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
    """Return the number of buffer copies per second."""
    source = torch.ones(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _best_rate(lambda: target.copy_(source), device)


def _products(device: torch.device, dtype: torch.dtype) -> float:
    """Return the number of products of square matrices per second."""
    side = MATRIX_SIDE[device.type]
    # Not zeros: with those a GPU uses less power and runs faster than with real data.
    left, right = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(left)
    return _best_rate(lambda: torch.mm(left, right, out=out), device)


def _best_rate(work: Callable[[], object], device: torch.device) -> float:
    """Return the best number of `work` calls per second over several trials."""
    watch, calls = Stopwatch(device), 1
    work()
    rates: list[float] = []
    deadline = time.perf_counter() + 20 * TRIALS * TRIAL_S  # on a slow machine, fewer trials are enough
    while len(rates) < TRIALS and (not rates or time.perf_counter() < deadline):
        watch.restart()
        for _ in range(calls):
            work()
        seconds = watch.lap()
        if seconds < TRIAL_S / 2:
            calls = max(2 * calls, int(calls * TRIAL_S / max(seconds, 1e-6)))
            continue
        rates.append(calls / seconds)
    return max(rates)
