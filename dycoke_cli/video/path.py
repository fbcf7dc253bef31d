"""What a user wrote for a file becomes its path: ~, file:// and sample: are resolved, and what is no path is explained.

A shell leaves ~ and patterns as they are within quotes, and so does whoever calls this as a library. A file that is
really called so wins over all of it.
"""

import glob
import os
import re
import shlex
import sys
from urllib.parse import unquote_to_bytes

from dycoke_cli.errors import InputError, VideoError
from dycoke_cli.video import samples
from dycoke_cli.video.source import check_source, pictures_in, shown
from dycoke_cli.video.stdin import STDIN

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WEB = re.compile(r"(https?|ftps?)://", re.IGNORECASE)
_FILE = re.compile(r"file:(?://([^/]*))?(/.*)?", re.IGNORECASE | re.DOTALL)


def readable_path(written: str | os.PathLike[str]) -> str:
    """Give the path of a video that can be opened, before anything is loaded for it. Raises VideoError, InputError."""
    path = video_path(written)
    if path != STDIN:
        check_source(path)
        pictures_in(path)
    return path


def video_path(written: str | os.PathLike[str], folder: str = "") -> str:
    """Give the path that is meant for a video, or a folder of them; `-` stays.

    folder: what relative paths are relative to. Raises VideoError for a web address and for a pattern that fits
    something, InputError for another machine's file.
    """
    written = os.fspath(written)
    if (written == STDIN and not folder) or os.path.lexists(os.path.join(folder, written)):
        return os.path.join(folder, written)
    if _ADDRESS.match(written) and not _FILE.match(written):
        raise VideoError(f"{shown(written)} is no file on this machine.", _fetching(written), reason="missing")
    path = local_path(samples.resolve(written), folder)
    if re.search(r"[*?[]", path) and not os.path.lexists(path) and (found := sorted(glob.glob(path))):
        first = os.path.normpath(found[0])
        several = f"{len(found)} files, such as" if len(found) > 1 else "one file,"
        raise VideoError(
            f"{shown(written)} is a pattern; it fits {several} {shown(first)}.",
            f"Give one file, or caption a whole folder: dycoke caption {shlex.quote(os.path.dirname(first) or '.')}",
            reason="missing",
        )
    return path


def local_path(written: str, folder: str = "") -> str:
    """Give the path that is meant for a file of any kind. Raises InputError for another machine's file."""
    literal = os.path.join(folder, written)
    if os.path.lexists(literal):
        return literal
    address = _FILE.fullmatch(written)
    if address is None and _WEB.match(written):
        raise InputError(f"{written!r} is no file on this machine", f"Save it first: curl -sLO {shlex.quote(written)}")
    if address is None or not (address[1] or address[2]):
        return os.path.join(folder, os.path.expanduser(written))
    if (address[1] or "").lower() not in ("", "localhost"):
        raise InputError(
            f"{written!r} is a file of another machine, {address[1]!r}",
            "Copy it here; an address of this machine's files begins with file:///",
        )
    return _unquoted(address[2] or "/")


def _unquoted(path: str) -> str:
    """Turn the path of a file:// address into one of this system."""
    if sys.platform == "win32":
        from urllib.request import url2pathname

        return url2pathname(path)
    return os.fsdecode(unquote_to_bytes(path))


def _fetching(address: str) -> str:
    quoted = shlex.quote(address)
    if _WEB.match(address):
        return f"Pipe it in: curl -sL {quoted} | dycoke ask - QUESTION; or save it first: curl -sLo video.mp4 {quoted}"
    return "Save it to a file first, or pipe it in: dycoke ask - QUESTION"
