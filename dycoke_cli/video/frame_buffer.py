"""Pixels of frames that are not all decoded yet, used like the array that they become."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


class FrameBuffer:
    """An array (frames, height, width, 3) uint8 RGB whose frames are decoded while it is used, in their order.

    Indexing waits for the frames that it needs. load: return an array of this shape once its first `count` frames are
    decoded; its errors (VideoError, UsageError) are raised by the indexing that needed them.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, shape: tuple[int, ...], load: Callable[[int], npt.NDArray[np.uint8]]) -> None:
        self.shape, self._load = shape, load

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Any) -> npt.NDArray[np.uint8]:
        first = part[0] if isinstance(part, tuple) else part
        chosen = range(len(self))[first]
        needed = chosen + 1 if isinstance(chosen, int) else max(chosen, default=-1) + 1
        return self._load(needed)[part]

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (self[place] for place in range(len(self)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self[:], dtype, copy=copy)

    def between(self, first: int, end: int) -> "FrameBuffer":
        """Return the frames from `first` up to before `end` as a buffer of their own, without waiting for them."""
        end = min(end, len(self))
        shape = (max(0, end - first), *self.shape[1:])
        return FrameBuffer(shape, lambda count: self._load(first + count if count else 0)[first:end])


# (frames, height, width, 3) uint8 RGB.
Pixels = npt.NDArray[np.uint8] | FrameBuffer


def part(pixels: Pixels, first: int, end: int) -> Pixels:
    """Return the frames from `first` up to before `end`, without waiting for those that are not decoded yet."""
    return pixels.between(first, end) if isinstance(pixels, FrameBuffer) else pixels[first:end]
