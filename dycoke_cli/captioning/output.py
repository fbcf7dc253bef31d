"""Output files of captioning: one JSONL file, or one per shard until a run over all videos merges them."""

from contextlib import ExitStack
from pathlib import Path

from dycoke_cli.captioning.record import CAPTIONS, Record
from dycoke_cli.captioning.shard import Shard, shards_beside
from dycoke_cli.system.file_lock import FileLock
from dycoke_cli.system.jsonl_output import JsonlOutput, read_kept


class Output:
    """The records of a folder, those of other shards included; a context manager that locks its file for this run.

    A whole run (no shard) merges the shards' records into its file and deletes theirs. It never runs beside a shard:
    each takes its own lock first and then checks the other's, so that at least one of the two is refused.
    """

    def __init__(self, whole: Path, shard: Shard | None = None) -> None:
        self.whole, self.shard = whole, shard
        self.file = JsonlOutput(shard.output(whole) if shard else whole, CAPTIONS)
        self.known: dict[str, Record] = {}

    def __enter__(self) -> "Output":
        with ExitStack() as stack:
            stack.enter_context(self.file)
            if self.file.path == self.whole:
                self._merge_shards()
            else:
                FileLock(self.whole).refuse_if_held()
                self.known.update(read_all_records(self.whole))
            self.known.update(self.file.records)
            stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.file.__exit__()

    @property
    def locked(self) -> bool:
        """Whether the lock excludes other runs; some network disks support none."""
        return self.file.lock is None or self.file.lock.kept

    def add(self, record: Record) -> None:
        """Append a record, unless an equal one is kept. Raises UsageError where it cannot be written."""
        if self.known.get(record.id) != record:
            self.file.add(record)
            self.known[record.id] = record

    def _merge_shards(self) -> None:
        """Copy the records of shards into the whole file, then delete their files."""
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


def read_all_records(whole: Path) -> dict[str, Record]:
    """Read the records of an output and its shards, without locks. Raises UsageError."""
    known: dict[str, Record] = {}
    for path in (whole, *shards_beside(whole)):
        if path.is_file():
            known.update(read_kept(path, CAPTIONS))
    return known
