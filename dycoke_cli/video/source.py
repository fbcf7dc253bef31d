"""Check that a path is a readable file or folder before decoding; list the images or videos of a folder."""

import errno
import os
import shlex
import stat

from dycoke_cli.errors import VideoError
from dycoke_cli.video.image_sequence import files_by_extension, list_images

VIDEO_ENDINGS = (
    "3gp", "asf", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "ogv", "rm",
    "ts", "vob", "webm", "wmv"
)  # fmt: skip
_KINDS = {
    stat.S_IFIFO: ("a pipe", "Save its content to a file first."),
    stat.S_IFSOCK: ("a socket", "Give a video file."),
    stat.S_IFCHR: ("a device", "Give a video file."),
    stat.S_IFBLK: ("a device", "Give a video file."),
}


def check_source(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of a folder, or of a readable file that is not empty.

    Raise VideoError, one sentence for each cause. It never blocks: pipes are rejected by file type, without opening.
    """
    name = quoted_path(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise _access_error(path, error) from None
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise VideoError(f"{name} is {kind[0]}, not a video file.", kind[1], reason="not_a_file")
    if stat.S_ISDIR(status.st_mode):
        return os.path.abspath(os.fspath(path))
    if status.st_size == 0:
        raise VideoError(f"{name} is empty: it has 0 bytes.", "Copy or download it again.", reason="empty")
    try:
        os.close(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
    except OSError as error:
        raise _access_error(path, error) from None
    return os.path.abspath(os.fspath(path))


def images_in(path: str) -> list[str] | None:
    """Return the names of the images in a folder, in order; None for a file. Raise VideoError if there are none."""
    if not os.path.isdir(path):
        return None
    try:
        found = list_images(path)
    except OSError as error:
        raise _access_error(path, error) from None
    if not found:
        if videos := list_videos(path):
            several = f"{len(videos)} videos" if len(videos) > 1 else "one video"
            raise VideoError(
                f"{quoted_path(path)} is a folder with {several} and without pictures.",
                f"Give one video, as {quoted_path(os.path.join(path, videos[0]))}, or caption all: "
                f"dycoke caption {shlex.quote(path)}",
                reason="not_a_file",
            )
        raise VideoError(
            f"{quoted_path(path)} is a folder without pictures.",
            "Give one video file, or a folder of pictures such as jpg or png.",
            reason="not_a_file",
        )
    return found


def list_videos(folder: str) -> list[str]:
    """Return the sorted names of the videos in a folder, by extension, without hidden files. Raise OSError."""
    return sorted(files_by_extension(folder, tuple(f".{ending}" for ending in VIDEO_ENDINGS)))


def quoted_path(path: str | os.PathLike[str]) -> str:
    """Return the path in quotes and on one line, with special characters escaped."""
    return repr(os.fspath(path))


def _access_error(path: str | os.PathLike[str], error: OSError | ValueError) -> VideoError:
    """Build the VideoError for a path that cannot be opened, with its cause."""
    name = quoted_path(path)
    if not isinstance(error, OSError):
        return VideoError(f"{name} is not a possible file name.", "Check the path.", reason="missing")
    if error.errno == errno.ELOOP:
        return VideoError(f"{name} is a link that leads back to itself.", "Give the file itself.", reason="missing")
    if isinstance(error, PermissionError):
        return VideoError(f"{name} may not be read by this user.", "Change its permissions.", reason="not_readable")
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        target = quoted_path(os.readlink(path))
        return VideoError(f"{name} is a link to {target}, which does not exist.", "Repair the link.", reason="missing")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return VideoError(f"{name} does not exist.", "Check the path.", reason="missing")
    return VideoError(f"{name} cannot be opened: {error.strerror}.", "Check the path.", reason="not_readable")
