"""Anonymous shared memory through which the worker passes decoded pixels to its parent without copying."""

import mmap
import os
import sys
import tempfile
from contextlib import suppress
from itertools import count
from typing import IO

import numpy as np
import numpy.typing as npt

_POPULATE = getattr(mmap, "MAP_POPULATE", 0)
_NUMBERS = count()


class SharedPixels:
    """The worker's side: memory for all frames of one video, each written once.

    A pipe would pass 64 KiB at a time and wait for the parent's interpreter each time, which is busy loading the model.
    The parent maps the same memory, so the pixels are not copied.
    """

    def __init__(self, size: int) -> None:
        """Allocate `size` bytes. Raise OSError if this fails."""
        self._map: mmap.mmap | None = None
        self._file: IO[bytes] | None = None
        if sys.platform == "win32":
            self.handle = f"dycoke-{os.getpid()}-{next(_NUMBERS)}"
            self._map = mmap.mmap(-1, size, tagname=self.handle)
            return
        if sys.platform == "linux":
            # In memory, and not limited by the size of /dev/shm, which is 64 MB in a default container.
            self._file = os.fdopen(os.memfd_create("dycoke-frames"), "w+b", buffering=0)
            self.handle = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        else:
            descriptor, self.handle = tempfile.mkstemp(prefix="dycoke-")
            self._file = os.fdopen(descriptor, "w+b", buffering=0)
        self._file.truncate(size)

    def write(self, slot: int, frame: npt.NDArray[np.uint8]) -> None:
        """Write frame (height, width, 3) at its place among frames of one size. Raise OSError if memory is full."""
        rest = np.ascontiguousarray(frame).data.cast("B")
        if self._map is not None:
            self._map[slot * len(rest) : (slot + 1) * len(rest)] = rest
            return
        assert self._file is not None
        self._file.seek(slot * len(rest))
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Release the memory on this side; a mapping that the parent has opened stays valid."""
        if self._map is not None:
            self._map.close()
        if self._file is not None:
            self._file.close()


def open_shared_pixels(handle: str, shape: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """Map the memory of the worker's `SharedPixels` as (frames, height, width, 3) uint8, on the parent's side.

    It is freed with the last array that refers to it. Raise OSError if the worker has ended.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size, tagname=handle)
    else:
        with open(handle, "r+b", buffering=0) as file:
            # Populated at once: a memory measurement that starts at the first frames must not count the later ones.
            memory = mmap.mmap(file.fileno(), size, flags=mmap.MAP_SHARED | _POPULATE)
        if sys.platform != "linux":
            with suppress(OSError):
                os.unlink(handle)
    return np.frombuffer(memory, np.uint8).reshape(shape)
