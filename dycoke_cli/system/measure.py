"""Clocks and peaks around the engine, from outside."""

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Stopwatch:
    """Measures wall-clock seconds of work on a device, which it waits for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def restart(self) -> None:
        """Begin to count at zero."""
        self.began = self._now()

    def lap(self) -> float:
        """Give the seconds since the start or the last lap, and start the next."""
        now = self._now()
        seconds, self.began = now - self.began, now
        return seconds


def timed(steps: Iterator[T], watch: Stopwatch) -> Iterator[tuple[T, float]]:
    """Pair each item with the seconds it took to make.

    An item is there when its token has reached the host. On CUDA the device is by then busy with the next one: waiting
    for it would slow down what is measured, so seconds count from item to item. Elsewhere what the consumer does in
    between is not counted.
    """
    ahead = watch.device.type == "cuda"
    watch.restart()
    began = watch.began
    while True:
        try:
            item = next(steps)
        except StopIteration:
            return
        now = time.perf_counter()
        yield item, now - began
        began = now if ahead else time.perf_counter()


class PeakMemory:
    """The highest memory use since `restart`, of the CUDA allocator or of the whole process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.of = "cuda" if device.type == "cuda" else "process"
        self.restart()

    def restart(self, own: int = 0) -> None:
        """Forget the peak so far; `above_start` counts from here.

        own: bytes on the device that are there from an earlier run but are needed by what is now measured: they count.
        """
        if self.of == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.start: int | None = torch.cuda.memory_allocated(self.device) - own
            return
        self.start = _status_bytes("VmRSS") if _reset_process_peak() else None

    @property
    def peak(self) -> int | None:
        """Bytes at the highest point; None where the system does not tell."""
        if self.of == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return _status_bytes("VmHWM")

    @property
    def above_start(self) -> int | None:
        """Bytes by which the highest point is above what was taken at `restart`."""
        peak = self.peak
        return None if peak is None or self.start is None else max(0, peak - self.start)


def _reset_process_peak() -> bool:
    if not _CLEAR.exists():
        return False
    # What earlier work has freed stays with the allocator, and a run that is served from it would seem to need nothing.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int | None:
    """Read a memory field of this process on Linux; None elsewhere."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)
