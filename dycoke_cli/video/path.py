"""Resolve ~, file:// and sample: in paths given by users, and explain what is not a path (web addresses, patterns).

Shells leave ~ and patterns unexpanded within quotes, and callers of the library pass them unexpanded. A file with
exactly the given name takes precedence over every such meaning.
"""

import glob
import os
import re
import shlex
import sys
from urllib.parse import unquote_to_bytes

from dycoke_cli.errors import InputError, VideoError
from dycoke_cli.video import bundled_clips
from dycoke_cli.video.source import check_source, images_in, quoted_path
from dycoke_cli.video.stdin import STDIN

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WEB_URL = re.compile(r"(https?|ftps?)://", re.IGNORECASE)
_FILE_URL = re.compile(r"file:(?://([^/]*))?(/.*)?", re.IGNORECASE | re.DOTALL)


def readable_path(written: str | os.PathLike[str]) -> str:
    """Return the path of a video, images or `-`, checked to be readable. Raise VideoError or InputError."""
    path = video_path(written)
    if path != STDIN:
        check_source(path)
        images_in(path)
    return path


def video_path(written: str | os.PathLike[str], folder: str = "") -> str:
    """Resolve the path of a video or of a folder of videos; `-` is returned unchanged.

    folder: base of relative paths. Raise VideoError for a web address or a pattern that matches files, InputError for a
    file of another machine.
    """
    written = os.fspath(written)
    if (written == STDIN and not folder) or os.path.lexists(os.path.join(folder, written)):
        return os.path.join(folder, written)
    if _URL.match(written) and not _FILE_URL.match(written):
        raise VideoError(
            f"{quoted_path(written)} is no file on this machine.", _download_hint(written), reason="missing"
        )
    path = local_path(bundled_clips.resolve(written), folder)
    if re.search(r"[*?[]", path) and not os.path.lexists(path) and (found := sorted(glob.glob(path))):
        first = os.path.normpath(found[0])
        several = f"{len(found)} files, such as" if len(found) > 1 else "one file,"
        raise VideoError(
            f"{quoted_path(written)} is a pattern; it fits {several} {quoted_path(first)}.",
            f"Give one file, or caption a whole folder: dycoke caption {shlex.quote(os.path.dirname(first) or '.')}",
            reason="missing",
        )
    return path


def local_path(written: str, folder: str = "") -> str:
    """Resolve the path of a file of any kind. Raise InputError for a web address or a file of another machine."""
    literal = os.path.join(folder, written)
    if os.path.lexists(literal):
        return literal
    address = _FILE_URL.fullmatch(written)
    if address is None and _WEB_URL.match(written):
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
    """Convert the path part of a file:// address to a path of this system."""
    if sys.platform == "win32":
        from urllib.request import url2pathname

        return url2pathname(path)
    return os.fsdecode(unquote_to_bytes(path))


def _download_hint(address: str) -> str:
    """Return the remedy for an address: how to pipe or save it."""
    quoted = shlex.quote(address)
    if _WEB_URL.match(address):
        return f"Pipe it in: curl -sL {quoted} | dycoke ask - QUESTION; or save it first: curl -sLo video.mp4 {quoted}"
    return "Save it to a file first, or pipe it in: dycoke ask - QUESTION"
