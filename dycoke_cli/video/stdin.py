"""Copy a video from standard input to a temporary file, which decoders can seek in."""

import os
import select
import sys
import tempfile
from typing import IO

from dycoke_cli.errors import VideoError

STDIN = "-"  # on the command line
NAME = "standard input"  # in messages
_CHUNK = 1 << 20  # bytes


class StdinCopy:
    """A temporary file with the content of standard input; `close` deletes it."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file = file
        self.path = path

    @classmethod
    def save(cls, max_bytes: int, patience_s: float) -> "StdinCopy":
        """Read standard input to its end.

        patience_s: the longest silence; not checked on Windows, where only sockets can be waited for.
        Raise VideoError if it is a terminal, empty, too large or silent, or if the disk is full.
        """
        stdin = sys.stdin.fileno() if sys.stdin is not None else -1
        if stdin < 0 or os.isatty(stdin):
            raise VideoError(
                f"{NAME} is a terminal, and no video comes from it.", "Pipe one in: dycoke ask - QUESTION < video.mp4"
            )
        piped = cls._create()
        try:
            piped._fill(stdin, max_bytes, patience_s)
        except BaseException:
            piped.close()
            raise
        return piped

    @classmethod
    def _create(cls) -> "StdinCopy":
        """Create an empty temporary file."""
        if sys.platform == "linux":
            # Without a name, so that it is deleted however this process ends.
            unnamed = tempfile.TemporaryFile(prefix="dycoke-")  # noqa: SIM115
            return cls(unnamed, f"/proc/{os.getpid()}/fd/{unnamed.fileno()}")
        named = tempfile.NamedTemporaryFile(prefix="dycoke-", delete=False)  # noqa: SIM115
        return cls(named.file, named.name)

    def _fill(self, stdin: int, max_bytes: int, patience_s: float) -> None:
        """Copy everything from file descriptor `stdin`."""
        size = 0
        while True:
            if sys.platform != "win32" and not select.select([stdin], [], [], patience_s)[0]:
                raise VideoError(
                    f"{NAME} sent nothing for {patience_s:g} s.",
                    "Check that the command that writes it still runs, or wait longer with --video-timeout.",
                    reason="timeout",
                )
            try:
                chunk = os.read(stdin, _CHUNK)
                self._file.write(chunk)
                if not chunk:
                    self._file.flush()
                    break
            except OSError as error:
                raise VideoError(
                    f"{NAME} cannot be saved in {tempfile.gettempdir()!r}: {error.strerror}.",
                    "Save the video to a file and give that.",
                    reason="not_readable",
                ) from None
            size += len(chunk)
            if size > max_bytes:
                raise VideoError(
                    f"{NAME} holds more than {max_bytes / 2**30:.3g} GiB.",
                    "Save the video to a file and give that.",
                    reason="too_large",
                )
        if not size:
            raise VideoError(f"{NAME} is empty: it has 0 bytes.", "Check the command that writes it.", reason="empty")

    def close(self) -> None:
        """Close and delete the file."""
        self._file.close()
        if not self.path.startswith("/proc/"):
            os.unlink(self.path)
