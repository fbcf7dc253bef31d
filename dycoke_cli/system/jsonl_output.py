"""A JSON Lines output file, one record a line, written at once so that an interrupted run can resume."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from dycoke_cli.errors import UsageError
from dycoke_cli.system.file_lock import FileLock
from dycoke_cli.system.files import write_atomically


class JsonRecord(Protocol):
    """A record that is written as one line."""

    def as_json(self) -> dict[str, Any]:
        """Return the line's object; by its first keys a truncated line is recognised."""


R = TypeVar("R", bound=JsonRecord)


@dataclass(frozen=True)
class Format(Generic[R]):
    """The line format of one kind of output file."""

    command: str  # the command that writes the file
    head: bytes  # the first bytes of every line
    parse: Callable[[Any], R]  # builds a record from a line's object; raises ValueError or TypeError
    name: Callable[[R], str]  # the key of a record; a later record replaces an earlier one of the same name

    def read_line(self, line: bytes) -> R | None:
        """Parse one line; return None if it is no record."""
        try:
            return self.parse(json.loads(line))
        except (ValueError, TypeError):
            return None


class JsonlOutput(Generic[R]):
    """Records by name, in memory and in a file if a path is given; the last line of a name counts.

    A context manager that locks the file. Content in another format is never changed: it raises UsageError, and only a
    truncated last line in this format is removed.
    """

    def __init__(self, path: Path | None, format: Format[R]) -> None:
        self.path, self.format = path, format
        self.records: dict[str, R] = {}
        self.outdated = 0  # lines that a later line of the same name replaces
        self.lock = FileLock(path) if path is not None else None
        self.descriptor: int | None = None
        self.end = 0  # length of the complete lines, in bytes
        self.created = False  # the file did not exist before

    def __enter__(self) -> "JsonlOutput[R]":
        if self.path is not None and self.lock is not None:
            if self.path.exists() and not self.path.is_file():
                raise UsageError(f"{str(self.path)!r} is no file to write to", "Name a file, existing or new")
            try:
                self.lock.acquire()
                self.created = not self.path.exists()
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
        """Append a record to the file at once, then store it. Raises UsageError if the write fails."""
        if self.descriptor is not None:
            try:
                self._append(encoded(record))
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(self.descriptor, self.end)  # removes the partial line
                raise self._refusal(error) from None
        self._store(record)

    def compact(self) -> None:
        """Rewrite the file atomically with one line for each name. Raises UsageError if the write fails."""
        if self.path is None or self.descriptor is None or not self.outdated:
            return
        descriptor, self.descriptor = self.descriptor, None
        os.close(descriptor)  # Windows cannot replace an open file
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

    def _store(self, record: R) -> None:
        name = self.format.name(record)
        self.outdated += name in self.records
        self.records[name] = record

    def _load(self, path: Path) -> None:
        assert self.descriptor is not None
        lines = path.read_bytes().split(b"\n")
        partial = lines.pop()
        for record in _records(path, lines, self.format):
            self._store(record)
        self.end = sum(len(line) + 1 for line in lines)
        if not partial:
            return
        last = self.format.read_line(partial)
        if last is not None:
            self._store(last)
            self.end += len(partial)
            self._append(b"\n")
        elif partial.startswith(self.format.head) or self.format.head.startswith(partial):
            os.ftruncate(self.descriptor, self.end)
        else:
            raise _foreign(path, len(lines) + 1, self.format.command)

    def _refusal(self, error: OSError) -> UsageError:
        return UsageError(
            f"{str(self.path)!r} cannot be written: {error.strerror}",
            "Name a file in an existing, writable folder with free space",
        )

    def _close(self) -> None:
        if self.descriptor is not None:
            descriptor, self.descriptor = self.descriptor, None
            with suppress(OSError):  # the write has already raised for a full disk
                os.close(descriptor)
            if self.path is not None and self.created and not self.end:
                with suppress(OSError):
                    self.path.unlink()  # an empty file that this run created
        if self.lock is not None:
            self.lock.release()


def encoded(record: JsonRecord) -> bytes:
    """Encode a record as one line; file names that are not valid Unicode are escaped, and decode unchanged."""
    values = record.as_json()
    try:
        return json.dumps(values, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(values).encode() + b"\n"


def read_kept(path: Path, format: Format[R]) -> dict[str, R]:
    """Read the records of a file by name, without a lock: another run may be writing its last line.

    Raises UsageError, OSError.
    """
    *lines, last = path.read_bytes().split(b"\n")
    records = {format.name(record): record for record in _records(path, lines, format)}
    if (record := format.read_line(last)) is not None:
        records[format.name(record)] = record
    return records


def _records(path: Path, lines: Sequence[bytes], format: Format[R]) -> Iterator[R]:
    """Parse complete lines, skipping blank ones. Raises UsageError at a line that is no record."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            record = format.read_line(line)
            if record is None:
                raise _foreign(path, number, format.command)
            yield record


def _foreign(path: Path, number: int, command: str) -> UsageError:
    """Return the error for a line that is not in the expected format."""
    return UsageError(
        f"{str(path)!r}, line {number} is no record of {command}", "Name another --output, or move this file away"
    )
