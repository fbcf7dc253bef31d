"""The file without a name in which a child leaves the pixels for its parent."""

import os
import sys
import tempfile
from contextlib import suppress
from typing import IO

import numpy as np
import numpy.typing as npt


class Canvas:
    """One piece of memory shared by parent and child, used anew for each video.

    A pipe would hand over 64 KiB at a time and wait for the parent's interpreter each time, which is busy loading the
    model. On POSIX nothing has a name, so nothing can be left behind, whoever is killed first.
    """

    def __init__(self, file: IO[bytes], handle: str) -> None:
        self._file = file
        self.handle = handle  # what the child is told: a file descriptor, or a path on Windows

    @classmethod
    def create(cls) -> "Canvas":
        """Makes the parent's end."""
        if sys.platform == "win32":
            file = tempfile.NamedTemporaryFile(prefix="dycoke-", delete=False, buffering=0)  # noqa: SIM115
            return cls(file.file, file.name)
        if sys.platform == "linux":
            # In memory, and not bound by the size of /dev/shm, which is 64 MB in a plain container.
            unnamed: IO[bytes] = os.fdopen(os.memfd_create("dycoke-frames"), "w+b", buffering=0)
        else:
            unnamed = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        return cls(unnamed, str(unnamed.fileno()))

    @classmethod
    def inherit(cls, handle: str) -> "Canvas":
        """Opens the child's end."""
        return cls(open(int(handle) if handle.isdecimal() else handle, "r+b", buffering=0), handle)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What Popen has to pass on."""
        return (int(self.handle),) if self.handle.isdecimal() else ()

    def write(self, slot: int, picture: npt.NDArray[np.uint8]) -> None:
        """Puts picture (height, width, 3) in its place among pictures of the same size. Raises OSError when full."""
        rest = np.ascontiguousarray(picture).data.cast("B")
        self._file.seek(slot * len(rest))
        while rest:
            rest = rest[self._file.write(rest) :]

    def take(self, shape: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
        """Copies (frames, height, width, 3) out and gives the memory back. Raises EOFError when there is less."""
        pixels = np.empty(shape, np.uint8)
        rest = pixels.data.cast("B")
        self._file.seek(0)
        while rest:
            count = self._file.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                raise EOFError(f"{len(rest)} bytes of the frames are missing")
            rest = rest[count:]
        self.clear()
        return pixels

    def clear(self) -> None:
        """Forgets all pictures."""
        self._file.truncate(0)

    def close(self) -> None:
        """Gives the file back."""
        self._file.close()
        if not self.handle.isdecimal():
            with suppress(OSError):
                os.unlink(self.handle)
