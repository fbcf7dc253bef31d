"""A pool of captioning processes: distribute videos, collect records, replace workers that die."""

import math
import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job, Recipe, cores
from dycoke_cli.captioning.record import Record
from dycoke_cli.captioning.worker import ENDED, READY, work
from dycoke_cli.errors import DyCokeError

TRIES = 3  # attempts at a video whose worker dies
STARTS = 3  # consecutive workers that die before they have loaded the model
_TICK_S = 0.2

Serve = Callable[[Connection, Job, int, int], None]  # the function that a worker process runs


class Worker:
    """The parent's handle of one worker process."""

    def __init__(self, job: Job, number: int, threads: int, serve: Serve) -> None:
        # Not forked: torch and CUDA do not work in a forked process.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, job, number, threads), name=f"dycoke-{number}", daemon=True
        )
        self.process.start()
        theirs.close()
        self.number = number
        self.items: dict[str, Item] = {}  # sent and not yet answered
        self.ready = self.alone = self.ending = False

    def assign(self, items: Sequence[Item], alone: bool = False) -> None:
        """Send videos. alone: send no others until these are done."""
        self.items.update({item.id: item for item in items})
        self.alone = alone
        self._send(list(items))

    def end(self) -> None:
        """Ask the process to finish its current batch and end."""
        if not self.ending:
            self.ending = True
            self._send(None)

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join(5)
        self.connection.close()

    def _send(self, message: list[Item] | None) -> None:
        with suppress(OSError):  # the process died; the pool replaces it when its connection ends
            self.connection.send(message)


class WorkerPool:
    """Workers that share one queue of videos.

    A worker that dies is replaced. Its unanswered videos become suspects: each is tried again alone, so that deaths
    count against the video that causes them only; after the third a video gets an error record.
    """

    def __init__(self, job: Job, items: Sequence[Item], count: int, serve: Serve = work) -> None:
        self.serve = serve
        self.job, self.count = job, min(count, len(items))
        self.queue, self.suspects = deque(items), deque[Item]()
        self.tries: Counter[str] = Counter()
        self.failed_starts = 0
        self.threads = max(1, cores() // self.count)
        self.workers = [self._start(number) for number in range(self.count)]

    def records(self, stopped: Callable[[], bool]) -> Generator[Record]:
        """Yield records as they arrive. Raises the exception of a worker that reports one."""
        try:
            while self._unfinished(stopped()):
                self._assign_videos(stopped())
                for ready in wait([worker.connection for worker in self.workers], _TICK_S):
                    worker = next(worker for worker in self.workers if worker.connection is ready)
                    yield from self._receive(worker)
        finally:
            for worker in self.workers:
                worker.kill()

    def _unfinished(self, stopped: bool) -> bool:
        if stopped:
            return bool(self.workers)  # until each has sent ENDED
        return bool(self.queue or self.suspects or any(worker.items for worker in self.workers))

    def _assign_videos(self, stopped: bool) -> None:
        for worker in self.workers:
            if stopped:
                worker.end()
            elif self.suspects and not worker.items:
                worker.assign([self.suspects.popleft()], alone=True)
            elif self.queue and not (worker.alone and worker.items):
                # Share the last videos evenly, rather than send all of them to the first free worker.
                share = max(self.job.decoders + 1, math.ceil(len(self.queue) / self.count))
                wanted = min(self.job.videos_per_worker, share) - len(worker.items)
                if given := [self.queue.popleft() for _ in range(min(wanted, len(self.queue)))]:
                    worker.assign(given)

    def _receive(self, worker: Worker) -> Generator[Record]:
        """Receive one message of a worker; yield the record it contains, if any."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if isinstance(message, BaseException):
            raise message
        if message == READY:
            worker.ready, self.failed_starts = True, 0
        elif message == ENDED:
            self.workers.remove(worker)
            worker.kill()
        else:
            assert isinstance(message, Record)
            if worker.items.pop(message.id, None) is not None:
                yield message

    def _replace(self, worker: Worker) -> Generator[Record]:
        """Replace a worker that died; queue its videos again, or yield their error records."""
        worker.kill()
        self.workers.remove(worker)
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise DyCokeError(
                    f"{STARTS} workers died while they loaded the model, the last with status "
                    f"{worker.process.exitcode}",
                    "Start fewer --workers: each has a model of its own in memory",
                )
            self.queue.extendleft(reversed(worker.items.values()))
        else:
            for item in worker.items.values():
                self.tries[item.id] += 1
                if self.tries[item.id] < TRIES:
                    self.suspects.append(item)
                else:
                    yield death_record(item, self.job.recipe)
        if not worker.ending:
            self.workers.append(self._start(worker.number))

    def _start(self, number: int) -> Worker:
        return Worker(self.job, number, self.threads, self.serve)


def death_record(item: Item, recipe: Recipe) -> Record:
    """Build the record of a video whose worker died at every attempt."""
    return Record.failed(
        item, recipe, f"{item.path!r} ended the process that worked on it, {TRIES} times", "worker_died"
    )
