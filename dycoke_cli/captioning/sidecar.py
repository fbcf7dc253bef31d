"""The caption as a text file beside its video, as trainers read it."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.record import Record
from dycoke_cli.errors import UsageError
from dycoke_cli.system.atomic_write import write_atomically


@dataclass(frozen=True)
class Sidecars:
    """Writes NAME.txt beside NAME.mp4: the caption between what is put before and after it."""

    prepend: str = ""
    append: str = ""
    overwrite: bool = False  # also what this program did not write

    def check(self, items: Sequence[Item]) -> None:
        """Raise UsageError before any work where two videos share a text, or a folder cannot be written."""
        taken: dict[Path, Item] = {}
        for item in items:
            if (other := taken.setdefault(beside(item.path), item)) is not item:
                raise UsageError(
                    f"{other.id!r} and {item.id!r} would share the text {beside(item.path).name!r}",
                    "Rename one of them, choose with --ext, or leave --sidecar out",
                )
        for folder in {path.parent for path in taken}:
            _try_to_write(folder)

    def write(self, record: Record, before: Record | None) -> Record:
        """Write a caption's text and note it in the record; a text that somebody else wrote stays as it is.

        before: what is known of this video from earlier. Raises UsageError where the disk refuses.
        """
        if record.error is not None:
            return record
        path, text = beside(record.path), f"{self.prepend}{record.text}{self.append}"
        found = _content(path)
        ours = {text, before.sidecar if before is not None else None, record.sidecar}
        if found is not None and found not in ours and not self.overwrite:
            return replace(record, sidecar=None)
        if found != text:
            try:
                write_atomically(path, [text.encode(errors="surrogateescape"), b"\n"])
            except OSError as error:
                raise UsageError(
                    f"{str(path)!r} cannot be written: {error.strerror}", "Make room, or leave --sidecar out"
                ) from None
        return replace(record, sidecar=text)


def beside(path: str) -> Path:
    """Give the text file that belongs to a video."""
    return Path(path).with_suffix(".txt")


def _content(path: Path) -> str | None:
    if path.is_fifo():
        return ""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _try_to_write(folder: Path) -> None:
    probe = folder / f".dycoke-{os.getpid()}"
    try:
        write_atomically(probe, [])
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"no text can be written to {str(folder)!r}: {error.strerror}", "Change its rights, or leave --sidecar out"
        ) from None


def left_alone(records: Iterable[Record]) -> int:
    """Count the captions whose text was not written, because there was one of somebody else."""
    return sum(record.error is None and record.sidecar is None for record in records)
