"""Which video a path holds, by its content."""

import hashlib
import os
from pathlib import Path

from dycoke_cli.cache.fingerprint import file_fingerprint
from dycoke_cli.video.image_sequence import list_images

AT_ONCE = 256 * 2**20  # bytes that are read through before a run begins; a larger file's are afterwards


class ContentIndex:
    """Remembers which content a file has, so that it is read through once and not every time.

    A file counts as unchanged while its size, date of change and both ends are the same; of a small one, every byte.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, video: str, whole: bool = False) -> str | None:
        """Give a hash over all bytes of a file, or of all pictures of a folder and their names.

        None for a large file that is not known yet, unless `whole` asks to read it. Raises OSError.
        """
        path = Path(video)
        if path.is_dir():
            digest = hashlib.sha256()
            for name in list_images(video):
                digest.update(f"{name!r} {self._of_file(path / name, True)}\n".encode())
            return digest.hexdigest()
        return self._of_file(path, whole or path.stat().st_size <= AT_ONCE)

    def state(self, video: str) -> str:
        """Give what is another once somebody has written to a file, or to one of a folder. Raises OSError."""
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
        if self.folder / f"{file_fingerprint(path)}.content" == note:  # nobody wrote to it meanwhile
            _note(note, found)
        return found


def _note(path: Path, text: str) -> None:
    """Write a small file whole; one that cannot be written costs time later and nothing else."""
    half = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        half.write_text(text, encoding="ascii")
        os.replace(half, path)
    except OSError:
        half.unlink(missing_ok=True)
