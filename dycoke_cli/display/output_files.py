"""The files that a command is told to write, looked at before the work: nothing shall be lost at its end."""

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from dycoke_cli.errors import UsageError
from dycoke_cli.video.image_sequence import list_pictures
from dycoke_cli.video.stdin import STDIN


def check_outputs(outputs: Mapping[str, str | Path | None], inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise UsageError for a file that cannot be written, is named twice, or is read by the same command.

    outputs: files by the option that names them; None: not named. inputs: a video, a folder of pictures, `-`, other
    files that are read.
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
    """Raise UsageError where `write_whole` would, or would replace what is protected or no ordinary file."""
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


def _problem(path: Path) -> str | None:
    """Say why a file cannot be written, None where it can. Raises OSError, ValueError for what the system says."""
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        facts = None
    if facts is not None and stat.S_ISDIR(facts.st_mode):
        return "it is a folder"
    if facts is not None and not stat.S_ISREG(facts.st_mode):
        return "it is no ordinary file"
    # For an administrator nothing is forbidden, but a file without any right to write is protected from mistakes.
    if facts is not None and not (facts.st_mode & 0o222 and os.access(path, os.W_OK)):
        return "it is write-protected"
    if not path.parent.is_dir():
        return "its folder does not exist"
    with tempfile.TemporaryFile(dir=path.parent):  # rights alone do not tell: a disk may be read-only
        return None


def _is_read(path: Path, given: str) -> bool:
    """Whether a file is an input, or a picture of a folder that is one, by whatever name."""
    try:
        facts = os.stat(path)
        if given == STDIN:
            return os.path.samestat(facts, os.fstat(0))
        if os.path.isdir(given):
            return any(os.path.samestat(facts, os.stat(os.path.join(given, name))) for name in list_pictures(given))
        return os.path.samestat(facts, os.stat(given))
    except OSError:
        return False  # one of them is not there
