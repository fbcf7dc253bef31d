"""Pixels that can be used before all of them are here."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt


class FramesReplacedError(Exception):
    """The frames are read anew, another way: what was made of those so far is void."""


class ArrivingPixels:
    """An array (frames, height, width, 3) that is filled from its beginning; whoever takes a part waits for it.

    wait: returns once so many frames are there. Raises FramesReplacedError, VideoError, UsageError if they never come.
    """

    def __init__(self, pixels: npt.NDArray[np.uint8], wait: Callable[[int], None]) -> None:
        self._pixels, self._wait = pixels, wait
        self.waited_s = 0.0  # how long those who took parts have waited, together

    @property
    def shape(self) -> tuple[int, ...]:
        """All of it, from the beginning."""
        return self._pixels.shape

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, part: slice | int) -> npt.NDArray[np.uint8]:
        chosen = range(len(self))[part]
        needed = chosen + 1 if isinstance(chosen, int) else max(chosen, default=-1) + 1
        began = time.perf_counter()
        self._wait(needed)
        self.waited_s += time.perf_counter() - began
        return self._pixels[part]

    def between(self, first: int, end: int) -> "ArrivingPixels":
        """Give the frames from `first` to before `end`, which still arrive, without waiting for them.

        Whoever takes some of them there waits for them here, and `waited_s` counts it here.
        """

        def wait(count: int) -> None:
            self[first : first + count]

        return ArrivingPixels(self._pixels[first:end], wait)


# (frames, height, width, 3) uint8 RGB, all there or still arriving.
Pixels = npt.NDArray[np.uint8] | ArrivingPixels


def part(pixels: Pixels, first: int, end: int) -> Pixels:
    """Give the frames from `first` to before `end`, those that still arrive without waiting for them."""
    return pixels.between(first, end) if isinstance(pixels, ArrivingPixels) else pixels[first:end]
