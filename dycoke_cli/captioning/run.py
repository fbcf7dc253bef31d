"""Run a captioning plan: write every record as soon as it is made."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.output import Output
from dycoke_cli.captioning.plan import Plan
from dycoke_cli.captioning.record import Record
from dycoke_cli.captioning.sidecar import Sidecars

# Makes records of items: in this process, in several, or on a cluster. Ends early once the callable returns True.
Engine = Callable[[Sequence[Item], Callable[[], bool]], Generator[Record]]


@dataclass
class Tally:
    """Progress of a run, in videos."""

    total: int  # kept ones included
    kept: int  # captions of earlier runs
    kept_failed: int  # errors of earlier runs
    records: list[Record] = field(default_factory=list)  # of this run
    failed: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def done(self) -> int:
        """Number of videos captioned by this run."""
        return len(self.records) - self.failed

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, loading the model included."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    def take(self, record: Record) -> None:
        """Count a record of this run."""
        self.records.append(record)
        self.failed += record.error is not None


class CaptionRun:
    """Carries out a plan, and writes its records and sidecars.

    report: called after every record. fail_fast: end after the first failure, once the videos already begun are done.
    """

    def __init__(
        self,
        plan: Plan,
        output: Output,
        sidecars: Sidecars | None,
        report: Callable[[Tally], None],
        fail_fast: bool = False,
    ) -> None:
        self.plan, self.output, self.sidecars = plan, output, sidecars
        self.report, self.fail_fast = report, fail_fast
        total = len(plan.todo) + len(plan.kept)
        self.tally = Tally(total, len(plan.kept) - plan.failed, plan.failed)

    def run(self, engine: Engine, stopped: Callable[[], bool]) -> Tally:
        """Make the missing records. Interrupted at any point, the output contains all that were made."""
        for record in self.plan.kept:
            self._keep(record)
        if self.plan.todo and not stopped():
            self.report(self.tally)
            with closing(engine(self.plan.todo, lambda: stopped() or self.failed_fast)) as records:
                for record in records:
                    self.tally.take(self._keep(record))
                    self.report(self.tally)
        self.output.file.compact()
        self.tally.ended = time.monotonic()
        return self.tally

    @property
    def failed_fast(self) -> bool:
        """Whether a failure ends the run."""
        return self.fail_fast and self.tally.failed > 0

    def _keep(self, record: Record) -> Record:
        if self.sidecars is not None:
            record = self.sidecars.write(record, self.output.known.get(record.id))
        self.output.add(record)
        return record
