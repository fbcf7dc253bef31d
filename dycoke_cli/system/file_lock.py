"""Lock an output file for one process; a second process gets an error that names the holder."""

import errno
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from dycoke_cli.errors import UsageError

_LOCKED_BYTE = 1 << 30  # beyond the text: Windows lets no other process read locked bytes
_UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}  # from file systems without locks


class FileLock:
    """An exclusive lock on a file, released when the process ends; `.NAME.lock` beside the file names the holder."""

    def __init__(self, path: Path) -> None:
        self.guarded, self.path = path, path.with_name(f".{path.name}.lock")
        self.descriptor: int | None = None
        self.kept = True  # False where the file system supports no locks and others are not excluded

    def acquire(self) -> None:
        """Take the lock. Raises UsageError, naming the holder, if it is held; OSError if no lock file can be made."""
        while self.descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self.kept = _lock(descriptor)
                if self._is_current(descriptor):
                    self.descriptor = descriptor
            except BlockingIOError:
                raise self._refusal(os.read(descriptor, 300).decode("utf-8", "replace")) from None
            finally:
                if self.descriptor is None:
                    os.close(descriptor)
        holder = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        os.ftruncate(self.descriptor, 0)
        with suppress(OSError):  # on a full disk the lock holds, without the holder's name
            os.write(self.descriptor, holder.encode())

    def refuse_if_held(self) -> None:
        """Raise UsageError if a process holds the lock, without excluding other such checks. Raises OSError."""
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
        """Release the lock and delete the lock file."""
        if self.descriptor is None:
            return
        descriptor, self.descriptor = self.descriptor, None
        if sys.platform == "win32":
            os.close(descriptor)
        with suppress(OSError):
            self.path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)  # after unlink, so that no process locks a file that is about to be deleted

    def _is_current(self, descriptor: int) -> bool:
        """Return whether the path still names the locked file: the last holder may have deleted it in between."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _refusal(self, holder: str) -> UsageError:
        return UsageError(
            f"{str(self.guarded)!r} is being written by another run: {holder or 'an unnamed process'}",
            "Wait until it has ended, or name another --output",
        )


def _lock(descriptor: int, shared: bool = False) -> bool:
    """Lock a file without waiting; return False where locks are not supported. Raises BlockingIOError if it is held."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
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
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True
