"""Content hashes of videos, remembered by file fingerprint so that each file is read once."""

import hashlib
import os
from pathlib import Path

from dycoke_cli.cache.fingerprint import file_fingerprint
from dycoke_cli.video.image_sequence import list_images

HASHED_BEFORE = 256 * 2**20  # bytes; larger files are hashed after the run, not before it


class ContentIndex:
    """Content hashes by file fingerprint, stored in the cache folder.

    A file counts as unchanged while its fingerprint is the same; see `file_fingerprint`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, video: str, whole: bool = False) -> str | None:
        """Return the SHA-256 of a file, or of the names and contents of a folder's images.

        None for a large file whose hash is not stored, unless `whole` is set. Raises OSError.
        """
        path = Path(video)
        if path.is_dir():
            digest = hashlib.sha256()
            for name in list_images(video):
                digest.update(f"{name!r} {self._of_file(path / name, True)}\n".encode())
            return digest.hexdigest()
        return self._of_file(path, whole or path.stat().st_size <= HASHED_BEFORE)

    def state(self, video: str) -> str:
        """Return a text that changes when a file, or one in a folder, is written to. Raises OSError."""
        pictures = self.of(video) if Path(video).is_dir() else None
        return pictures or file_fingerprint(Path(video))

    def _of_file(self, path: Path, whole: bool) -> str | None:
        note = self.folder / f"{file_fingerprint(path)}.content"
        try:
            known = note.read_text(encoding="ascii")
        except (OSError, ValueError):
            known = ""
        if len(known) == hashlib.sha256().digest_size * 2:
            return known
        if not whole:
            return None
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if self.folder / f"{file_fingerprint(path)}.content" == note:  # the file was not written to meanwhile
            _note(note, found)
        return found


def _note(path: Path, text: str) -> None:
    """Write a small file atomically; a failure only costs time later, and is ignored."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        temporary.write_text(text, encoding="ascii")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
