"""Caption videos in batches: take decoded videos, answer full batches, return records, errors included."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.prefetch import HELD_BYTES, DecodedVideo, Prefetch
from dycoke_cli.captioning.record import Record, Reply, Spent
from dycoke_cli.errors import ContextError, DyCokeError, OutOfMemoryError, VideoError

if TYPE_CHECKING:
    from dycoke_cli.captioning.captioner import Captioner
    from dycoke_cli.session.answer import Answer

_TICK_S = 0.1  # how long to wait for a video before checking for other work


class CaptionPipeline:
    """Makes the records of one process of a run.

    captioner: answers batches. ahead: decodes the videos. A batch that does not fit into memory is halved, and so are
    those after it; a video that does not fit alone gets an error record.
    """

    def __init__(self, job: Job, captioner: "Captioner", ahead: Prefetch) -> None:
        self.job, self.captioner, self.ahead = job, captioner, ahead
        self.most = job.batch  # videos per batch; None until the first video is decoded
        self.batch: list[DecodedVideo] = []
        self.waited = 0.0

    def next_records(self) -> list[Record]:
        """Take a decoded video, if one arrives in time, and answer the batch once it is full."""
        began = time.perf_counter()
        decoded = self.ahead.take(_TICK_S)
        self.waited += time.perf_counter() - began
        if decoded is None:
            return []
        if isinstance(decoded.result, DyCokeError):
            return [self._failed(decoded, decoded.result)]
        self.batch.append(decoded)
        if self.most is None:
            self.most = self.captioner.rows_that_fit(len(decoded.frames))
            self.ahead.room = self.most + self.job.decoders
        full = len(self.batch) >= self.most or sum(video.nbytes for video in self.batch) >= HELD_BYTES
        return self.finish() if full else []

    def finish(self) -> list[Record]:
        """Answer the waiting videos, even if the batch is not full."""
        batch, self.batch = self.batch, []
        return self._answer(batch) if batch else []

    def _answer(self, batch: Sequence[DecodedVideo]) -> list[Record]:
        """Answer a batch; where that fails, answer its halves."""
        try:
            return self._records(batch, self.captioner.answers(batch))
        except Exception as error:
            failure = _without_traceback(error)
        self.captioner.recover()
        if len(batch) == 1:
            return [self._failed(batch[0], failure)]
        half = len(batch) // 2
        if isinstance(failure, OutOfMemoryError):
            self.most = min(self.most or half, half)
        return [*self._answer(batch[:half]), *self._answer(batch[half:])]

    def _records(self, batch: Sequence[DecodedVideo], answers: "Sequence[tuple[Answer, ...]]") -> list[Record]:
        together = len(batch) if self.job.captioned else 1
        longest = max(answer.time_s.decode for said in answers for answer in said)
        records = []
        for decoded, said in zip(batch, answers, strict=True):
            frames = decoded.frames
            waited, self.waited = self.waited, 0.0  # counted once, with the first video of a batch
            spent = Spent(
                decode_video=decoded.seconds,
                vision=sum(answer.time_s.vision or 0.0 for answer in said),
                prefill=sum(answer.time_s.prefill or 0.0 for answer in said),
                decode=longest if self.job.captioned else sum(answer.time_s.decode for answer in said),
                waited=waited,
            )
            records.append(
                Record(
                    id=decoded.item.id,
                    path=decoded.item.path,
                    caption=said[0].answer if self.job.captioned else None,
                    error=None,
                    reason=None,
                    seconds=spent.decode_video + spent.vision + spent.prefill + spent.decode,
                    key=self.job.recipe.key(decoded.identity),
                    answers=tuple(map(_reply, said)),
                    frames=len(frames),
                    damaged=frames.info.damaged,
                    warnings=frames.info.warnings,
                    batch=together,
                    time_s=spent,
                    video=decoded.identity,
                )
            )
        return records

    def _failed(self, decoded: DecodedVideo, error: DyCokeError) -> Record:
        # What would fit differs between videos, so the remedy belongs in the record.
        why = f"{error.message}. {error.remedy}" if isinstance(error, ContextError) else error.message
        return Record.failed(decoded.item, self.job.recipe, why, reason_of(error), decoded.identity)


def _reply(answer: "Answer") -> Reply:
    tokens = answer.tokens
    counts = tokens.visual, tokens.visual_prefill, tokens.generated
    return Reply(answer.question, answer.answer, answer.finish, *counts)


def _without_traceback(error: Exception) -> DyCokeError:
    """Copy an error without its traceback, which would keep tensors in memory."""
    if isinstance(error, VideoError):
        return VideoError(error.message, error.remedy, error.reason)
    if isinstance(error, DyCokeError):
        return type(error)(error.message, error.remedy)
    return DyCokeError(f"{type(error).__name__}: {error}".splitlines()[0])  # raised by a library


def reason_of(error: DyCokeError) -> str:
    """Return the fixed word that names an error in a record."""
    if isinstance(error, VideoError | ContextError):
        return error.reason
    return "out_of_memory" if isinstance(error, OutOfMemoryError) else "usage" if error.exit_code == 2 else "failed"


def records_here(
    job: Job,
    items: Sequence[Item],
    stopped: Callable[[], bool],
    captioner: "Captioner | None" = None,
) -> Generator[Record]:
    """Make records in this process; the first videos are decoded while the model loads.

    stopped: returns True to end early; videos that wait for their batch are still answered. captioner: one that is
    loaded; None loads one.
    """
    with Prefetch(job, job.planned_batch + job.decoders) as ahead:
        ahead.add(items)
        if captioner is None:
            from dycoke_cli.captioning.captioner import Captioner

            captioner = Captioner(job)
        pipeline = CaptionPipeline(job, captioner, ahead)
        while ahead.left and not stopped():
            yield from pipeline.next_records()
        yield from pipeline.finish()
