"""The output file of `eval`: a line for each answer, kept at once, so that a run can go on where another ended."""

import json
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from dycoke_cli.errors import UsageError
from dycoke_cli.evaluation.record import SCHEMA, Record

HEAD = f'{{"schema": {SCHEMA}, "key": "'.encode()  # how every line begins


class Ledger:
    """Keeps records by their key, in a file if there is one; the last line of a key counts.

    A context manager that closes the file. Nothing that it did not write is ever changed: a file of other content is
    refused, and only a last line of its own that was cut short is taken away.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        self.file: IO[bytes] | None = None

    def __enter__(self) -> "Ledger":
        if self.path is not None:
            if self.path.exists() and not self.path.is_file():
                raise UsageError(f"{str(self.path)!r} is no file to write to", "Name a file, existing or new")
            try:
                self.file = self.path.open("a+b")
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

    def add(self, record: Record) -> None:
        """Keep a record, on the disk before anything else happens. Raises UsageError where that fails."""
        self.records[record.key] = record
        if self.file is None:
            return
        try:
            self.file.write(json.dumps(record.as_json(), ensure_ascii=False).encode() + b"\n")
            self.file.flush()
        except OSError as error:
            raise self._refusal(error) from None

    def _load(self, path: Path) -> None:
        assert self.file is not None
        self.file.seek(0)
        lines = self.file.read().split(b"\n")
        torn = lines.pop()
        for number, line in enumerate(lines, 1):
            if line.strip():
                record = _parsed(line)
                if record is None:
                    raise self._foreign(path, number)
                self.records[record.key] = record
        if not torn:
            return
        whole = _parsed(torn)
        if whole is not None:
            self.records[whole.key] = whole
            self.file.write(b"\n")
        elif torn.startswith(HEAD) or HEAD.startswith(torn):
            self.file.truncate(sum(len(line) + 1 for line in lines))
        else:
            raise self._foreign(path, len(lines) + 1)
        self.file.flush()

    def _foreign(self, path: Path, number: int) -> UsageError:
        return UsageError(
            f"{str(path)!r}, line {number} is no record of eval", "Name another --output, or move this file away"
        )

    def _refusal(self, error: OSError) -> UsageError:
        return UsageError(
            f"{str(self.path)!r} cannot be written: {error.strerror}",
            "Name a file in a folder that exists and is yours",
        )

    def _close(self) -> None:
        if self.file is not None:
            file, self.file = self.file, None
            with suppress(OSError):  # a full disk was told of when it was met
                file.close()


def _parsed(line: bytes) -> Record | None:
    try:
        return Record.from_json(json.loads(line))
    except (ValueError, TypeError):
        return None
