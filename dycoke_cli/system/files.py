"""Read text from a file or a pipe, and write a file atomically."""

import errno
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a text file or named pipe. Raises OSError, also for a pipe without a writer, and UnicodeDecodeError."""
    if not path.is_fifo():
        return path.read_text(encoding=encoding)
    # A blocking open of a pipe waits for a writer; a read from a pipe without a writer returns at once.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    with open(descriptor, encoding=encoding) as file:
        text = file.read()
    if not text:
        raise OSError(errno.EPIPE, "no process writes to this pipe", str(path))
    return text


def write_atomically(path: Path, pieces: Iterable[bytes]) -> None:
    """Replace a file by `pieces`, completely or not at all, and keep its permissions. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates the file readable by its owner alone.
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    """Return the process's umask; the only way to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
