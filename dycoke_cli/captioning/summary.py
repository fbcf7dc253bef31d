"""Summary of a captioning run: counts, throughput, tokens, times and failures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dycoke_cli.captioning.record import Record, Spent
from dycoke_cli.captioning.run import Tally


@dataclass(frozen=True)
class Reason:
    """The videos that failed for one reason."""

    reason: str
    videos: int
    example: str  # the message of the first one


@dataclass(frozen=True)
class Summary:
    """The result of a run, kept failures of earlier runs included."""

    videos: int
    captioned: int  # by this run
    kept: int  # captions of earlier runs that are still valid
    failed: int  # in the output at the end, of `videos`
    failed_now: int  # of those, by this run
    elapsed_s: float
    per_minute: float | None  # videos of this run per minute, loading the model included
    visual_tokens: int
    retained: float | None  # share of the visual tokens that entered the language model
    generated: int
    time_s: Spent  # summed over videos and processes, those of a batch once; decoding runs beside the model
    batch: float | None  # videos that ran together, mean over batches
    failures: tuple[Reason, ...]

    @property
    def left(self) -> int:
        """Number of videos that an interrupted run did not reach."""
        return self.videos - self.captioned - self.kept - self.failed


def summarise(tally: Tally, kept: Sequence[Record]) -> Summary:
    """Summarise a run and the records it kept from earlier runs."""
    records = tally.records
    replies = [reply for record in records for reply in record.answers[:1]]
    visual, entered = sum(reply.visual for reply in replies), sum(reply.visual_prefill for reply in replies)
    failed = [record for record in (*kept, *records) if record.error is not None]
    reasons = Counter(record.reason or "failed" for record in failed)
    first = {record.reason or "failed": record.error or "" for record in reversed(failed)}
    captioned = [record for record in records if record.error is None]
    return Summary(
        videos=tally.total,
        captioned=len(captioned),
        kept=sum(record.error is None for record in kept),
        failed=len(failed),
        failed_now=tally.failed,
        elapsed_s=tally.elapsed_s,
        per_minute=len(records) * 60 / tally.elapsed_s if records and tally.elapsed_s else None,
        visual_tokens=visual,
        retained=entered / visual if visual else None,
        generated=sum(reply.generated for record in records for reply in record.answers),
        time_s=_total_time(captioned),
        # Each record contains its batch size, so the sum of the inverses is the number of batches.
        batch=len(captioned) / sum(1 / record.batch for record in captioned) if captioned else None,
        failures=tuple(Reason(reason, count, first[reason]) for reason, count in reasons.most_common()),
    )


def _total_time(records: Sequence[Record]) -> Spent:
    """Sum the times; those of a batch are in the record of each of its videos, and count once."""
    times = [(record.time_s, record.batch) for record in records]
    return Spent(
        decode_video=sum(spent.decode_video for spent, _ in times),
        vision=sum(spent.vision / batch for spent, batch in times),
        prefill=sum(spent.prefill / batch for spent, batch in times),
        decode=sum(spent.decode / batch for spent, batch in times),
        waited=sum(spent.waited for spent, _ in times),
    )
