"""Fingerprints that distinguish files and model folders without reading them whole."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

SMALL = 4 * 2**20  # bytes; smaller files are read whole
END = 64 * 2**10  # bytes read from each end of larger files


def file_fingerprint(path: Path) -> str:
    """Return the fingerprint of a file: its content if small, else size, modification time and both ends.

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
            # The modification time too: weights may differ only in the middle.
            digest.update(f" {facts.st_mtime_ns} ".encode())
            digest.update(file.read(END))
            file.seek(-END, 2)
            digest.update(file.read())
    return digest.hexdigest()


def folder_fingerprint(folder: Path, patterns: Sequence[str]) -> str:
    """Return the fingerprint of a model: the hub's revision in its cache, else of the files that match `patterns`."""
    if folder.parent.name == "snapshots":
        return folder.name
    return files_fingerprint(sorted({path for pattern in patterns for path in folder.glob(pattern)}))


def files_fingerprint(paths: Iterable[Path]) -> str:
    """Return the fingerprint of several files, by names and contents, in their order. Raises OSError."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name!r} {file_fingerprint(path)}\n".encode())
    return digest.hexdigest()
