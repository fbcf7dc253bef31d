"""Measure wall-clock time and peak memory of work on a device."""

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Stopwatch:
    """A stopwatch for wall-clock seconds; it synchronises a CUDA device before each reading."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def restart(self) -> None:
        """Start counting from zero."""
        self.began = self._now()

    def lap(self) -> float:
        """Return the seconds since the start or the last lap, and start the next lap."""
        now = self._now()
        seconds, self.began = now - self.began, now
        return seconds


def timed(steps: Iterator[T], watch: Stopwatch) -> Iterator[tuple[T, float]]:
    """Pair each item with the seconds it took to produce.

    An item is complete when its token has reached the host. On CUDA the device then already computes the next one, and
    synchronising would slow it down, so seconds count from item to item. On a CPU the consumer's time is not counted.
    """
    overlaps = watch.device.type == "cuda"
    watch.restart()
    began = watch.began
    while True:
        try:
            item = next(steps)
        except StopIteration:
            return
        now = time.perf_counter()
        yield item, now - began
        began = now if overlaps else time.perf_counter()


class PeakMemory:
    """Peak memory since `restart`: of the CUDA allocator, or on a CPU of the whole process (resident set)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.of = "cuda" if device.type == "cuda" else "process"
        self.restart()

    def restart(self, own: int = 0) -> None:
        """Reset the peak; `above_start` counts from here.

        own: bytes already on the device that the measured work needs; they count as part of it (CUDA only).
        """
        if self.of == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.start: int | None = torch.cuda.memory_allocated(self.device) - own
            return
        self.start = _status_bytes("VmRSS") if _reset_process_peak() else None

    @property
    def peak(self) -> int | None:
        """Peak memory in bytes; None where the system does not report it."""
        if self.of == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return _status_bytes("VmHWM")

    @property
    def above_start(self) -> int | None:
        """Peak memory in bytes above the use at `restart`; None where the system does not report it."""
        peak = self.peak
        return None if peak is None or self.start is None else max(0, peak - self.start)


def _reset_process_peak() -> bool:
    if not _CLEAR_REFS.exists():
        return False
    # Return freed memory to the system: a run that reuses it would not raise the peak.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int | None:
    """Return a memory field of /proc/self/status in bytes; None where it does not exist."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)
