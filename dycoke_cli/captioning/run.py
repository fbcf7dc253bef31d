"""A run over many videos: every record is kept the moment it is there, whatever happens next."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.output import Output
from dycoke_cli.captioning.plan import Plan
from dycoke_cli.captioning.record import Record
from dycoke_cli.captioning.sidecar import Sidecars

# What makes records of items: in this process, in several, on a cluster. It ends early once asked to.
Engine = Callable[[Sequence[Item], Callable[[], bool]], Generator[Record]]


@dataclass
class Tally:
    """How far a run is."""

    total: int  # videos, kept ones included
    kept: int
    kept_failed: int
    records: list[Record] = field(default_factory=list)  # of this run
    failed: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def done(self) -> int:
        """Videos with a caption of this run."""
        return len(self.records) - self.failed

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, loading the model included."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    def take(self, record: Record) -> None:
        """Count one more."""
        self.records.append(record)
        self.failed += record.error is not None


class CaptionRun:
    """Carries a plan out and keeps what comes of it.

    told: called after every record. fail_fast: end with the first failure, after what was begun beside it.
    """

    def __init__(
        self,
        plan: Plan,
        output: Output,
        sidecars: Sidecars | None,
        told: Callable[[Tally], None],
        fail_fast: bool = False,
    ) -> None:
        self.plan, self.output, self.sidecars = plan, output, sidecars
        self.told, self.fail_fast = told, fail_fast
        total = len(plan.todo) + len(plan.kept)
        self.tally = Tally(total, len(plan.kept) - plan.failed, plan.failed)

    def run(self, engine: Engine, stopped: Callable[[], bool]) -> Tally:
        """Make what is missing. Interrupted at any point, the output holds all that was done."""
        for record in self.plan.kept:
            self._keep(record)
        if self.plan.todo and not stopped():
            self.told(self.tally)
            with closing(engine(self.plan.todo, lambda: stopped() or self.failed_fast)) as records:
                for record in records:
                    self.tally.take(self._keep(record))
                    self.told(self.tally)
        self.output.file.compact()
        self.tally.ended = time.monotonic()
        return self.tally

    @property
    def failed_fast(self) -> bool:
        """Whether a failure is to end the run."""
        return self.fail_fast and self.tally.failed > 0

    def _keep(self, record: Record) -> Record:
        if self.sidecars is not None:
            record = self.sidecars.write(record, self.output.known.get(record.id))
        self.output.add(record)
        return record
