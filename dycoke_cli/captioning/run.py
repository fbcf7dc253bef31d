"""Run a captioning plan: write every record as soon as it is made."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.output import Output
from dycoke_cli.captioning.plan import Plan
from dycoke_cli.captioning.record import Record
from dycoke_cli.captioning.request import Request


@dataclass
class Tally:
    """Progress of a run, in videos."""

    total: int  # kept ones included
    kept: int  # captions and errors of earlier runs
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


def run_plan(
    request: Request,
    job: Job,
    plan: Plan,
    output: Output,
    tally: Tally,
    report: Callable[[Tally], None],
    stopped: Callable[[], bool],
) -> None:
    """Make the missing records, and write all with their sidecars. Interrupted, the output contains all that were made.

    report: called after every record. stopped: returns True to end the run; the videos already begun are still done, as
    after a failure with --fail-fast.
    """

    def keep(record: Record) -> Record:
        if request.sidecars is not None:
            record = request.sidecars.write(record, output.known.get(record.id))
        output.add(record)
        return record

    for record in plan.kept:
        keep(record)
    if plan.todo and not stopped():
        report(tally)
        with closing(
            request.records(job, plan.todo, lambda: stopped() or (request.fail_fast and tally.failed > 0))
        ) as records:
            for record in records:
                tally.take(keep(record))
                report(tally)
    output.file.compact()
    tally.ended = time.monotonic()
