"""A JSON Lines output file, one record a line, written at once so that an interrupted run can resume."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dycoke_cli.errors import UsageError
from dycoke_cli.system.file_lock import FileLock
from dycoke_cli.system.files import write_atomically

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


@dataclass(frozen=True)
class Format(Generic[R]):
    """The line format of one kind of output file: an object of the format's version and a record's fields."""

    command: str  # the command that writes the file
    schema: int  # the version
    key: str  # the first field, a text that names the record; a later record replaces an earlier one of the same name
    parse: Callable[[dict[str, Any]], R]  # builds a record from the fields; raises ValueError or TypeError

    @property
    def head(self) -> bytes:
        """The first bytes of every line, by which a truncated line is recognised."""
        return f'{{"schema": {self.schema}, "{self.key}": "'.encode()

    def name(self, record: R) -> str:
        """Return the name of a record."""
        name: str = getattr(record, self.key)
        return name

    def line(self, record: R) -> bytes:
        """Encode a record as one line; file names that are not valid Unicode are escaped, and decode unchanged."""
        values = {"schema": self.schema, **asdict(record)}
        try:
            return json.dumps(values, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:
            return json.dumps(values).encode() + b"\n"

    def read_line(self, line: bytes) -> R | None:
        """Parse one line; return None if it is no record."""
        try:
            values = json.loads(line)
            if isinstance(values, dict) and values.pop("schema", None) == self.schema:
                return self.parse(values)
        except (ValueError, TypeError):
            pass
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
            except BaseException as error:
                self.__exit__()
                if isinstance(error, OSError):
                    raise self._refusal(error) from None
                raise
        return self

    def __exit__(self, *error: object) -> None:
        if self.descriptor is not None:
            descriptor, self.descriptor = self.descriptor, None
            with suppress(OSError):  # the write has already raised for a full disk
                os.close(descriptor)
            if self.path is not None and self.created and not self.end:
                with suppress(OSError):
                    self.path.unlink()  # an empty file that this run created
        if self.lock is not None:
            self.lock.release()

    def add(self, record: R) -> None:
        """Append a record to the file at once, then store it. Raises UsageError if the write fails."""
        if self.descriptor is not None:
            try:
                self._append(self.format.line(record))
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
            write_atomically(self.path, map(self.format.line, self.records.values()))
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
    return UsageError(
        f"{str(path)!r}, line {number} is no record of {command}", "Name another --output, or move this file away"
    )
