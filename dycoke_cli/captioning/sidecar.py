"""Captions as text files beside their videos, the layout that training scripts read."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.record import Record
from dycoke_cli.errors import UsageError
from dycoke_cli.system.files import write_atomically


@dataclass(frozen=True)
class Sidecars:
    """Writes NAME.txt beside NAME.mp4: `prepend`, the caption, `append`."""

    prepend: str = ""
    append: str = ""
    overwrite: bool = False  # replace files that this program did not write, too

    def check(self, items: Sequence[Item]) -> None:
        """Raise UsageError where two videos would share a text file, or a folder cannot be written to."""
        taken: dict[Path, Item] = {}
        for item in items:
            if (other := taken.setdefault(text_path(item.path), item)) is not item:
                raise UsageError(
                    f"{other.id!r} and {item.id!r} would share the text file {text_path(item.path).name!r}",
                    "Rename one of them, choose with --ext, or leave --sidecar out",
                )
        for folder in {path.parent for path in taken}:
            probe = folder / f".dycoke-{os.getpid()}"
            try:
                write_atomically(probe, [])
                probe.unlink()
            except OSError as error:
                raise UsageError(
                    f"no text file can be written to {str(folder)!r}: {error.strerror}",
                    "Change its rights, or leave --sidecar out",
                ) from None

    def write(self, record: Record, before: Record | None) -> Record:
        """Write a caption's text file, and return the record with the text in `sidecar`.

        A file that this program did not write stays unless `overwrite`; `sidecar` is None then. before: the earlier
        record of this video. Raises UsageError where the file cannot be written.
        """
        if record.error is not None:
            return record
        path, text = text_path(record.path), f"{self.prepend}{record.text}{self.append}"
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


def text_path(path: str) -> Path:
    """Return the text file of a video."""
    return Path(path).with_suffix(".txt")


def _content(path: Path) -> str | None:
    try:
        return "" if path.is_fifo() else path.read_text("utf-8", "surrogateescape").removesuffix("\n")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def count_unwritten(records: Iterable[Record]) -> int:
    """Count the captions without a text file because one that this program did not write is in its place."""
    return sum(record.error is None and record.sidecar is None for record in records)
