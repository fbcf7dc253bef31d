"""A video that comes through standard input, kept in a file that ends with its reader."""

import os
import select
import sys
import tempfile
from typing import IO

from dycoke_cli.errors import VideoError

STDIN = "-"  # how a command line names it
NAME = "standard input"
_CHUNK = 1 << 20  # bytes


class StdinCopy:
    """What was piped in, saved; decoders need a file in which they can go back and forth."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file = file
        self.path = path

    @classmethod
    def save(cls, max_bytes: int, patience_s: float) -> "StdinCopy":
        """Reads standard input to its end. Raises VideoError: a terminal, nothing, too much, silence, a full disk.

        patience_s: the longest silence; it is not watched on Windows, where only sockets can be waited for.
        """
        stdin = sys.stdin.fileno() if sys.stdin is not None else -1
        if stdin < 0 or os.isatty(stdin):
            raise VideoError(
                f"{NAME} is a terminal, and no video comes from it.", "Pipe one in: dycoke ask - QUESTION < video.mp4"
            )
        piped = cls._create()
        try:
            size = piped._fill(stdin, max_bytes, patience_s)
        except BaseException:
            piped.close()
            raise
        if not size:
            piped.close()
            raise VideoError(f"{NAME} is empty: it has 0 bytes.", "See what the other command says.", reason="empty")
        return piped

    @classmethod
    def _create(cls) -> "StdinCopy":
        if sys.platform == "linux":
            # Without a name of its own, so that nothing is left behind however this process ends.
            unnamed = tempfile.TemporaryFile(prefix="dycoke-")  # noqa: SIM115
            return cls(unnamed, f"/proc/{os.getpid()}/fd/{unnamed.fileno()}")
        named = tempfile.NamedTemporaryFile(prefix="dycoke-", delete=False)  # noqa: SIM115
        return cls(named.file, named.name)

    def _fill(self, stdin: int, max_bytes: int, patience_s: float) -> int:
        size = 0
        while True:
            if sys.platform != "win32" and not select.select([stdin], [], [], patience_s)[0]:
                raise VideoError(
                    f"{NAME} gave nothing for {patience_s:g} s.",
                    "See whether the other command still runs, or give it longer with --video-timeout.",
                    reason="timeout",
                )
            try:
                chunk = os.read(stdin, _CHUNK)
                self._file.write(chunk)
                if not chunk:
                    self._file.flush()
                    return size
            except OSError as error:
                raise VideoError(
                    f"{NAME} cannot be kept in {tempfile.gettempdir()!r}: {error.strerror}.",
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

    def close(self) -> None:
        """Gives the file back."""
        self._file.close()
        if not self.path.startswith("/proc/"):
            os.unlink(self.path)
