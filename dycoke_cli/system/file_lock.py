"""One writer for one file: a second run on the same output is refused, and told who holds it."""

import errno
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from dycoke_cli.errors import UsageError

_FAR = 1 << 30  # Windows keeps others from reading what is locked, so a byte beyond the text is locked
_UNKNOWN = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}  # file systems that know no locks


class FileLock:
    """Holds a file for this process, however it ends; `.NAME.lock` beside the file names the holder meanwhile."""

    def __init__(self, path: Path) -> None:
        self.guarded, self.path = path, path.with_name(f".{path.name}.lock")
        self.descriptor: int | None = None
        self.kept = True  # whether others are really kept out; False where the file system knows no locks

    def acquire(self) -> None:
        """Take the lock. Raises UsageError naming the holder, and OSError where no file can be made."""
        while self.descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self.kept = _lock(descriptor)
                if self._is_there(descriptor):
                    self.descriptor = descriptor
            except BlockingIOError:
                raise self._refusal(os.read(descriptor, 300).decode("utf-8", "replace")) from None
            finally:
                if self.descriptor is None:
                    os.close(descriptor)
        holder = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        os.ftruncate(self.descriptor, 0)
        with suppress(OSError):  # a full disk: the lock holds, only its holder has no name
            os.write(self.descriptor, holder.encode())

    def refuse_if_held(self) -> None:
        """Look whether somebody holds it, without keeping others from looking too. Raises UsageError, OSError."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            _lock(descriptor, shared=True)
        except BlockingIOError:
            raise self._refusal(os.read(descriptor, 300).decode("utf-8", "replace")) from None
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Let others have it, and leave nothing behind."""
        if self.descriptor is None:
            return
        descriptor, self.descriptor = self.descriptor, None
        if sys.platform == "win32":
            os.close(descriptor)
        with suppress(OSError):
            self.path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)  # after the name is gone, so that nobody takes a lock on a file that is leaving

    def _is_there(self, descriptor: int) -> bool:
        """Whether the name still means what was locked: the last holder may have taken it away in between."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _refusal(self, holder: str) -> UsageError:
        return UsageError(
            f"{str(self.guarded)!r} is being written by another run: {holder or 'a process that gives no name'}",
            "Wait until it has ended, or name another --output",
        )


def _lock(descriptor: int, shared: bool = False) -> bool:
    """Lock a file at once; False where that is not possible at all. Raises BlockingIOError where another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError as error:
                raise BlockingIOError from error
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        return False
    return True
