"""Counts of attempts and finished records of videos, on a disk that all workers of a cluster share."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.record import CAPTIONS, Record
from dycoke_cli.system.files import write_atomically


class Attempts:
    """A folder with two small files per video: NAME.tries, one byte per attempt, and NAME.json, its record once made.

    A cluster restarts a worker that died with the same videos, without limit. The count, on disk before each attempt,
    stops that; and videos finished beside one that kills its worker are not captioned again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, item: Item) -> None:
        """Count an attempt, and sync the count to disk. Call this before the attempt."""
        self.folder.mkdir(exist_ok=True)
        with self._file(item.id, "tries").open("ab", buffering=0) as file:
            file.write(b".")
            os.fsync(file.fileno())

    def tries(self, item: Item) -> int:
        """Return the number of attempts so far."""
        try:
            return self._file(item.id, "tries").stat().st_size
        except FileNotFoundError:
            return 0

    def finish(self, record: Record) -> None:
        """Write the record of a video, for the run to read."""
        write_atomically(self._file(record.id, "json"), [CAPTIONS.line(record)])

    def record(self, item: Item) -> Record | None:
        """Return the record of a video; None where there is none, or none that can be parsed."""
        try:
            return CAPTIONS.read_line(self._file(item.id, "json").read_bytes())
        except OSError:
            return None

    def clear(self) -> None:
        """Delete the folder. Call this once the output contains all records."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def _file(self, id: str, kind: str) -> Path:
        name = hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return self.folder / f"{name}.{kind}"
