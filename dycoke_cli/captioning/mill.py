"""Videos in, records out: read ahead, looked at one by one, answered in batches, failures told and passed over."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.readahead import Read, ReadAhead
from dycoke_cli.captioning.record import Record, Reply
from dycoke_cli.errors import DyCokeError, OutOfMemoryError, VideoError

if TYPE_CHECKING:
    from dycoke_cli.captioning.captioner import Captioner, Looked
    from dycoke_cli.methods import Method

NO_MEMORY = "out_of_memory"
_TICK_S = 0.1  # how long to wait for a video before looking whether there is something else to do


class Mill:
    """Makes records of items, one process's share of a run.

    captioner: what answers. ahead: where videos come from. A batch that does not fit into memory is halved, and so are
    those after it; a video that does not fit alone is an error of its own.
    """

    def __init__(self, job: Job, captioner: "Captioner", ahead: ReadAhead) -> None:
        self.job, self.captioner, self.ahead = job, captioner, ahead
        self.most = job.batch if job.captioned else 1  # videos of a batch; None until one was seen
        self.looked: dict[Method, list[Looked]] = {}
        self.waited = 0.0

    def next_records(self) -> list[Record]:
        """Take one video that has come, if any does soon, and answer where a batch is full."""
        began = time.perf_counter()
        read = self.ahead.take(_TICK_S)
        self.waited += time.perf_counter() - began
        if read is None:
            return []
        looked = self._look(read)
        if isinstance(looked, Record):
            return [looked]
        if self.most is None:
            self.most = self.captioner.rows_that_fit(looked)
        group = self.looked.setdefault(looked.method, [])
        group.append(looked)
        return self._answer(self.looked.pop(looked.method)) if len(group) >= self.most else []

    def finish(self) -> list[Record]:
        """Answer the batches that did not fill."""
        groups = [*self.looked.values()]
        self.looked.clear()
        return [record for group in groups for record in self._answer(group)]

    def _look(self, read: Read) -> "Looked | Record":
        if read.error is not None:
            return self._failed(read, read.error)
        try:
            return self.captioner.look(read)
        except Exception as error:
            failure = _without_traceback(error)
        self.captioner.recover()
        return self._failed(read, failure)

    def _answer(self, batch: "Sequence[Looked]") -> list[Record]:
        """Answer a batch, in halves where it does not fit."""
        try:
            replies, prefill_s, decode_s = self.captioner.answer(batch)
            return self._records(batch, replies, prefill_s, decode_s)
        except Exception as error:
            failure = _without_traceback(error)
        self.captioner.recover()
        if len(batch) == 1:
            return [self._failed(batch[0].read, failure)]
        half = len(batch) // 2
        if isinstance(failure, OutOfMemoryError):
            self.most = min(self.most or half, half)
        return [*self._answer(batch[:half]), *self._answer(batch[half:])]

    def _records(
        self, batch: "Sequence[Looked]", replies: list[tuple[Reply, ...]], prefill_s: float, decode_s: float
    ) -> list[Record]:
        waited, self.waited = self.waited, 0.0
        records = []
        for looked, said in zip(batch, replies, strict=True):
            read, item = looked.read, looked.read.item
            spent = replace(looked.spent, prefill=prefill_s, decode=decode_s, waited=waited)
            records.append(
                Record(
                    id=item.id,
                    path=item.path,
                    caption=said[0].answer if self.job.captioned else None,
                    error=None,
                    reason=None,
                    seconds=spent.decode_video + spent.vision + spent.prefill + spent.decode,
                    key=self.job.recipe.key(read.video.fingerprint),
                    answers=said,
                    frames=looked.frames,
                    damaged=looked.damaged,
                    warnings=looked.warnings,
                    batch=len(batch),
                    time_s=spent,
                    video=read.video,
                )
            )
        return records

    def _failed(self, read: Read, error: DyCokeError) -> Record:
        key = self.job.recipe.key(read.video.fingerprint)
        return Record.failed(read.item, key, read.video, error.message, reason_of(error))


def _without_traceback(error: Exception) -> DyCokeError:
    """Tell of a failure without holding on to the tensors that were there when it happened."""
    if isinstance(error, VideoError):
        return VideoError(error.message, error.remedy, error.reason)
    if isinstance(error, DyCokeError):
        return type(error)(error.message, error.remedy)
    return DyCokeError(f"{type(error).__name__}: {error}".splitlines()[0])  # of a library, about this one video


def reason_of(error: DyCokeError) -> str:
    """Name a failure in a word."""
    if isinstance(error, VideoError):
        return error.reason
    return NO_MEMORY if isinstance(error, OutOfMemoryError) else "usage" if error.exit_code == 2 else "failed"


def records_here(job: Job, items: Sequence[Item], stopped: Callable[[], bool]) -> Generator[Record]:
    """Make records in this process, the videos being read while the model loads.

    stopped: whether to end early; what the model has seen by then is still answered.
    """
    room = (job.batch or 8) + job.decoders
    with ReadAhead(job, room) as ahead:
        ahead.add(items)
        from dycoke_cli.captioning.captioner import Captioner

        mill = Mill(job, Captioner(job), ahead)
        while ahead.left and not stopped():
            yield from mill.next_records()
        yield from mill.finish()
