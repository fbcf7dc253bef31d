"""What a file or a model's folder is, told apart from others without reading all of it."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

SMALL = 4 * 2**20  # bytes that are read whole
END = 64 * 2**10  # bytes read from either end of a larger file


def file_fingerprint(path: Path) -> str:
    """Identify a file: all of a small one; size, date of change and both ends of a large one.

    Raises OSError, also for a pipe or a device: to open one may wait for ever.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
    digest = hashlib.sha256(str(facts.st_size).encode())
    with path.open("rb") as file:
        if facts.st_size <= SMALL:
            digest.update(file.read())
        else:
            # The date as well: weights may differ in the middle alone.
            digest.update(f" {facts.st_mtime_ns} ".encode())
            digest.update(file.read(END))
            file.seek(-END, 2)
            digest.update(file.read())
    return digest.hexdigest()


def folder_fingerprint(folder: Path, patterns: Sequence[str]) -> str:
    """Identify a model: by the hub's revision where that is where it lies, else by its files that fit `patterns`."""
    if folder.parent.name == "snapshots":
        return folder.name
    return files_fingerprint(sorted({path for pattern in patterns for path in folder.glob(pattern)}))


def files_fingerprint(paths: Iterable[Path]) -> str:
    """Identify several files by their names and contents, in their order. Raises OSError."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name!r} {file_fingerprint(path)}\n".encode())
    return digest.hexdigest()
