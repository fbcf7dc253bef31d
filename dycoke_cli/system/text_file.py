"""Text that is read from a path: a file, or a pipe that somebody writes to."""

import errno
import os
from pathlib import Path


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a text to its end. Raises OSError, also for a pipe that nobody writes to, and UnicodeDecodeError."""
    if not path.is_fifo():
        return path.read_text(encoding=encoding)
    # To open a pipe is to wait for whoever writes to it; to read from one that nobody has open is not.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    with open(descriptor, encoding=encoding) as file:
        text = file.read()
    if not text:
        raise OSError(errno.EPIPE, "nobody writes to this pipe", str(path))
    return text
