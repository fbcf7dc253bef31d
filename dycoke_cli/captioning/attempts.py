"""How often a video was begun, and what came of it, on a disk that all workers of a cluster see."""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.record import CAPTIONS, Record
from dycoke_cli.system.atomic_write import write_atomically
from dycoke_cli.system.jsonl_output import encoded


class Attempts:
    """A folder with two small files a video: one that grows with every try, and its record once there is one.

    A cluster starts a worker that died again with the same videos, for ever. What is on the disk before each try tells
    the next one; and what was finished beside a video that kills its worker is not done again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, item: Item) -> None:
        """Note a try, on the disk before it begins."""
        self.folder.mkdir(exist_ok=True)
        descriptor = os.open(self._file(item, "tries"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, b".")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def tries(self, item: Item) -> int:
        """Count the tries so far."""
        try:
            return self._file(item, "tries").stat().st_size
        except FileNotFoundError:
            return 0

    def finish(self, item: Item, record: Record) -> None:
        """Keep what came of a video until its run has it."""
        write_atomically(self._file(item, "json"), [encoded(record)])

    def record(self, item: Item) -> Record | None:
        """Give what is kept of a video; None for nothing."""
        try:
            return CAPTIONS.parse(json.loads(self._file(item, "json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def clear(self) -> None:
        """Forget everything, once the output has it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def _file(self, item: Item, kind: str) -> Path:
        name = hashlib.sha256(item.id.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return self.folder / f"{name}.{kind}"
