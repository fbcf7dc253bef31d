"""Write the output files of a command, and check them before its work starts, so that no result is lost."""

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from dycoke_cli.errors import UsageError
from dycoke_cli.system.files import write_atomically
from dycoke_cli.video.image_sequence import list_images
from dycoke_cli.video.stdin import STDIN


def check_outputs(outputs: Mapping[str, str | Path | None], inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise UsageError for a file that cannot be written, is given twice, or is read by the same command.

    outputs: file by option; None: not given. inputs: a video, a folder of pictures, `-`, or other files to be read.
    """
    taken: dict[str, str] = {}
    read = [os.fspath(given) for given in inputs if given is not None]
    for option, named in outputs.items():
        if named is None:
            continue
        path = Path(named)
        check_writable(path)
        other = taken.setdefault(os.path.normcase(os.path.realpath(path)), option)
        if other != option:
            raise UsageError(f"{other} and {option} both name {str(path)!r}", "Name two files")
        if any(_is_read(path, given) for given in read):
            raise UsageError(f"{option} names {str(path)!r}, which is read", "Name another file")


def check_writable(path: Path) -> None:
    """Raise UsageError if `write_file` would fail, or would replace a protected file or one that is not regular."""
    try:
        problem = _problem(path)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except ValueError:
        problem = "that is not a possible name"
    if problem is not None:
        raise UsageError(
            f"{str(path)!r} cannot be written: {problem}", "Name a file in a folder that exists and is yours"
        )


def write_file(path: Path, text: str) -> None:
    """Write a file in UTF-8 atomically. Raises UsageError if the folder does not allow it."""
    try:
        write_atomically(path, [text.encode("utf-8", "replace")])  # file names may contain surrogates
    except OSError as error:
        raise UsageError(
            f"{str(path)!r} cannot be written: {error.strerror}", "Name a file in a folder of yours"
        ) from None


def _problem(path: Path) -> str | None:
    """Return why a file cannot be written, None if it can. Raises OSError or ValueError from the system calls."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        status = None
    if status is not None and stat.S_ISDIR(status.st_mode):
        return "it is a folder"
    if status is not None and not stat.S_ISREG(status.st_mode):
        return "it is no ordinary file"
    # os.access allows root everything; a file without any write permission is protected from root, too.
    if status is not None and not (status.st_mode & 0o222 and os.access(path, os.W_OK)):
        return "it is write-protected"
    if not path.parent.is_dir():
        return "its folder does not exist"
    with tempfile.TemporaryFile(dir=path.parent):  # permissions are not enough: the file system may be read-only
        return None


def _is_read(path: Path, given: str) -> bool:
    """Return whether a file is the input `given` or a picture in that folder, under any name."""
    try:
        status = os.stat(path)
        if given == STDIN:
            return os.path.samestat(status, os.fstat(0))
        if os.path.isdir(given):
            return any(os.path.samestat(status, os.stat(os.path.join(given, name))) for name in list_images(given))
        return os.path.samestat(status, os.stat(given))
    except OSError:
        return False  # one of the two does not exist
