"""The output file of a run over many items: a line for each, kept at once, so that a run can go on where one ended."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from dycoke_cli.errors import UsageError
from dycoke_cli.system.atomic_write import write_atomically
from dycoke_cli.system.file_lock import FileLock


class Keepable(Protocol):
    """What can stand in a line."""

    def as_json(self) -> dict[str, Any]:
        """The line's object; its first keys mark a line of ours that was cut short."""


R = TypeVar("R", bound=Keepable)


@dataclass(frozen=True)
class Format(Generic[R]):
    """What the lines of an output file are."""

    command: str  # that writes them
    head: bytes  # how every line begins
    parse: Callable[[Any], R]  # a line's object to its record; raises ValueError or TypeError for any other
    name: Callable[[R], str]  # of records with the same name the last one counts

    def read_line(self, line: bytes) -> R | None:
        """Read one line; None where it is no record."""
        try:
            return self.parse(json.loads(line))
        except (ValueError, TypeError):
            return None


class JsonlOutput(Generic[R]):
    """Keeps records by their name, in a file if there is one; the last line of a name counts.

    A context manager that holds the file for this run alone. Nothing that it did not write is ever changed: a file of
    other content is refused, and only a last line of its own that was cut short is taken away.
    """

    def __init__(self, path: Path | None, format: Format[R]) -> None:
        self.path, self.format = path, format
        self.records: dict[str, R] = {}
        self.outdated = 0  # lines in the file whose name has a later one
        self.lock = FileLock(path) if path is not None else None
        self.descriptor: int | None = None
        self.end = 0  # bytes of whole lines
        self.made = False  # the file was not there before

    def __enter__(self) -> "JsonlOutput[R]":
        if self.path is not None and self.lock is not None:
            if self.path.exists() and not self.path.is_file():
                raise UsageError(f"{str(self.path)!r} is no file to write to", "Name a file, existing or new")
            try:
                self.lock.acquire()
                self.made = not self.path.exists()
                self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                self._load(self.path)
            except OSError as error:
                self._close()
                raise self._refusal(error) from None
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, record: R) -> None:
        """Keep a record, in the file before anything else happens. Raises UsageError where that fails."""
        if self.descriptor is not None:
            try:
                self._append(encoded(record))
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(self.descriptor, self.end)  # half a line helps nobody
                raise self._refusal(error) from None
        self._remember(record)

    def compact(self) -> None:
        """Leave one line for each name, by replacing the file as a whole. Raises UsageError where that fails."""
        if self.path is None or self.descriptor is None or not self.outdated:
            return
        descriptor, self.descriptor = self.descriptor, None
        os.close(descriptor)  # Windows replaces no file that is open
        try:
            write_atomically(self.path, map(encoded, self.records.values()))
            self.outdated = 0
        except OSError as error:
            raise self._refusal(error) from None
        finally:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self.end = os.fstat(self.descriptor).st_size

    def _append(self, line: bytes) -> None:
        assert self.descriptor is not None
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        self.end += len(line)

    def _remember(self, record: R) -> None:
        name = self.format.name(record)
        self.outdated += name in self.records
        self.records[name] = record

    def _load(self, path: Path) -> None:
        assert self.descriptor is not None
        lines = path.read_bytes().split(b"\n")
        torn = lines.pop()
        for number, line in enumerate(lines, 1):
            if line.strip():
                record = self.format.read_line(line)
                if record is None:
                    raise foreign(path, number, self.format.command)
                self._remember(record)
        self.end = sum(len(line) + 1 for line in lines)
        if not torn:
            return
        whole = self.format.read_line(torn)
        if whole is not None:
            self._remember(whole)
            self.end += len(torn)
            self._append(b"\n")
        elif torn.startswith(self.format.head) or self.format.head.startswith(torn):
            os.ftruncate(self.descriptor, self.end)
        else:
            raise foreign(path, len(lines) + 1, self.format.command)

    def _refusal(self, error: OSError) -> UsageError:
        return UsageError(
            f"{str(self.path)!r} cannot be written: {error.strerror}",
            "Name a file in a folder that exists, is yours and has room",
        )

    def _close(self) -> None:
        if self.descriptor is not None:
            descriptor, self.descriptor = self.descriptor, None
            with suppress(OSError):  # a full disk was told of when it was met
                os.close(descriptor)
            if self.path is not None and self.made and not self.end:
                with suppress(OSError):
                    self.path.unlink()  # nothing came of this run, so nothing is left of it
        if self.lock is not None:
            self.lock.release()


def encoded(record: Keepable) -> bytes:
    """Write a record as one line; names of files may hold what is no Unicode, and stay what they are."""
    values = record.as_json()
    try:
        return json.dumps(values, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(values).encode() + b"\n"


def read_kept(path: Path, format: Format[R]) -> dict[str, R]:
    """Read what another run keeps, without a lock: it may be writing its last line. Raises UsageError, OSError."""
    kept = {}
    *lines, last = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            record = format.read_line(line)
            if record is None:
                raise foreign(path, number, format.command)
            kept[format.name(record)] = record
    if (record := format.read_line(last)) is not None:
        kept[format.name(record)] = record
    return kept


def foreign(path: Path, number: int, command: str) -> UsageError:
    """Refuse a file that holds something else."""
    return UsageError(
        f"{str(path)!r}, line {number} is no record of {command}", "Name another --output, or move this file away"
    )
