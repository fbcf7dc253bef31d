"""What a run over many videos comes to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dycoke_cli.captioning.record import Record
from dycoke_cli.captioning.run import Tally


@dataclass(frozen=True)
class Reason:
    """One way in which videos failed."""

    reason: str
    videos: int
    example: str  # the message of the first one


@dataclass(frozen=True)
class Split:
    """Where the time of a run went, in seconds, summed over its processes.

    Decoding happens beside the model, so it is no part of the others.
    """

    decode_video: float
    vision: float
    prefill: float
    decode: float
    waited: float  # the model, for videos


@dataclass(frozen=True)
class Summary:
    """The result of a run, failures that were kept from before included."""

    videos: int
    captioned: int  # by this run
    kept: int  # captions from before that still hold
    failed: int  # in the output at the end, of all these videos
    failed_now: int  # of those, by this run
    elapsed_s: float
    per_minute: float | None  # videos of this run, loading the model included
    visual_tokens: int
    retained: float | None  # share of the visual tokens that entered the language model
    generated: int
    time_s: Split
    batch: float | None  # videos that ran together, mean
    failures: tuple[Reason, ...]

    @property
    def left(self) -> int:
        """Videos that an interrupted run did not come to."""
        return self.videos - self.captioned - self.kept - self.failed


def summarise(tally: Tally, kept: Sequence[Record]) -> Summary:
    """Sum up a run, with what it kept from before."""
    records = tally.records
    replies = [reply for record in records for reply in record.answers[:1]]
    visual, entered = sum(reply.visual for reply in replies), sum(reply.visual_prefill for reply in replies)
    failed = [record for record in (*kept, *records) if record.error is not None]
    captioned = [record for record in records if record.error is None]
    return Summary(
        videos=tally.total,
        captioned=len(captioned),
        kept=tally.kept,
        failed=len(failed),
        failed_now=tally.failed,
        elapsed_s=tally.elapsed_s,
        per_minute=len(records) * 60 / tally.elapsed_s if records and tally.elapsed_s else None,
        visual_tokens=visual,
        retained=entered / visual if visual else None,
        generated=sum(reply.generated for record in records for reply in record.answers),
        time_s=_split(captioned),
        # Every video of a batch says how many there were: their inverses count the batches.
        batch=len(captioned) / sum(1 / record.batch for record in captioned) if captioned else None,
        failures=tuple(_reasons(failed)),
    )


def _split(records: Sequence[Record]) -> Split:
    """Add up the times; those of a batch are in the record of each of its videos, and count once."""

    def shared(name: str) -> float:
        return sum(getattr(record.time_s, name) / record.batch for record in records)

    def own(name: str) -> float:
        return sum(getattr(record.time_s, name) for record in records)

    return Split(own("decode_video"), shared("vision"), shared("prefill"), shared("decode"), own("waited"))


def _reasons(failed: Sequence[Record]) -> list[Reason]:
    counts = Counter(record.reason or "failed" for record in failed)
    first = {record.reason or "failed": record.error or "" for record in reversed(failed)}
    return [Reason(reason, count, first[reason]) for reason, count in counts.most_common()]
