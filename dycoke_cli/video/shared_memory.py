"""The piece of memory without a name in which a child leaves the pixels, and from which its parent uses them."""

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
    """The child's end: room for the pictures of one video, which only ever grows fuller.

    A pipe would hand over 64 KiB at a time and wait for the parent's interpreter each time, which is busy loading the
    model. The parent reads where the child wrote: the pixels are never copied between the two.
    """

    def __init__(self, size: int) -> None:
        """Makes room for so many bytes. Raises OSError where there is none."""
        self._map: mmap.mmap | None = None
        self._file: IO[bytes] | None = None
        if sys.platform == "win32":
            self.handle = f"dycoke-{os.getpid()}-{next(_NUMBERS)}"
            self._map = mmap.mmap(-1, size, tagname=self.handle)
            return
        if sys.platform == "linux":
            # In memory, and not bound by the size of /dev/shm, which is 64 MB in a plain container.
            self._file = os.fdopen(os.memfd_create("dycoke-frames"), "w+b", buffering=0)
            self.handle = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        else:
            descriptor, self.handle = tempfile.mkstemp(prefix="dycoke-")
            self._file = os.fdopen(descriptor, "w+b", buffering=0)
        self._file.truncate(size)

    def write(self, slot: int, picture: npt.NDArray[np.uint8]) -> None:
        """Puts picture (height, width, 3) in its place among pictures of the same size. Raises OSError when full."""
        rest = np.ascontiguousarray(picture).data.cast("B")
        if self._map is not None:
            self._map[slot * len(rest) : (slot + 1) * len(rest)] = rest
            return
        assert self._file is not None
        self._file.seek(slot * len(rest))
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Lets go; the parent keeps what it has opened."""
        if self._map is not None:
            self._map.close()
        if self._file is not None:
            self._file.close()


def open_shared_pixels(handle: str, shape: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """Gives the parent's end: (frames, height, width, 3), the very memory that the child writes.

    It is given back with the last array that shows it. Raises OSError where the child has gone, taking it along.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size, tagname=handle)
    else:
        with open(handle, "r+b", buffering=0) as file:
            # Taken at once: a run that sees the first frames arrive must not seem to need the memory of all.
            memory = mmap.mmap(file.fileno(), size, flags=mmap.MAP_SHARED | _POPULATE)
        if sys.platform != "linux":
            with suppress(OSError):
                os.unlink(handle)
    return np.frombuffer(memory, np.uint8).reshape(shape)
