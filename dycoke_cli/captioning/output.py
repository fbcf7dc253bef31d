"""Where captions are kept: one file, or one for each shard until a whole run brings them together."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from dycoke_cli.captioning.record import CAPTIONS, Record
from dycoke_cli.captioning.shard import Shard, shards_beside
from dycoke_cli.system.file_lock import FileLock
from dycoke_cli.system.jsonl_output import JsonlOutput, read_kept


class Output:
    """The records of a folder, those of other shards included; a context manager that holds its file for this run.

    A whole run takes in what shards have left and removes their files. A shard never runs beside a whole run: each
    takes its own lock first and then looks at the other's, so that one of the two sees the other.
    """

    def __init__(self, whole: Path, shard: Shard | None = None) -> None:
        self.whole, self.shard = whole, shard
        self.file = JsonlOutput(shard.output(whole) if shard else whole, CAPTIONS)
        self.known: dict[str, Record] = {}

    def __enter__(self) -> "Output":
        with ExitStack() as stack:
            stack.enter_context(self.file)
            if self.file.path == self.whole:
                self._take_in()
            else:
                self._look_around()
            self.known.update(self.file.records)
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.__exit__(kind, error, trace)

    @property
    def locked(self) -> bool:
        """Whether other runs are really kept out: some network disks know no locks."""
        return self.file.lock is None or self.file.lock.kept

    def add(self, record: Record) -> None:
        """Keep a record, unless it is there as it is. Raises UsageError where the disk refuses."""
        if self.known.get(record.id) != record:
            self.file.add(record)
            self.known[record.id] = record

    def _take_in(self) -> None:
        """Move the records of shards into the whole, and their files away once they are there."""
        with ExitStack() as held:
            shards = shards_beside(self.whole)
            for path in shards:
                lock = FileLock(path)
                lock.acquire()
                held.callback(lock.release)
            for path in shards:
                for record in read_kept(path, CAPTIONS).values():
                    if self.file.records.get(record.id) != record:
                        self.file.add(record)
            self.file.compact()
            for path in shards:
                path.unlink()

    def _look_around(self) -> None:
        """See what the whole and the other shards have done."""
        FileLock(self.whole).refuse_if_held()
        self.known.update(known_beside(self.whole))


def known_beside(whole: Path) -> dict[str, Record]:
    """Read what an output and its shards hold, without holding them. Raises UsageError."""
    known: dict[str, Record] = {}
    for path in (whole, *shards_beside(whole)):
        if path.is_file():
            known.update(read_kept(path, CAPTIONS))
    return known
