"""A captioning worker process: receives items and sends records over one connection.

Messages to it: a list of items to caption; None to finish the current batch and end.
Messages from it: READY once the model is loaded; each record; an exception that ends it; ENDED as the last.
"""

import os
import queue
import signal
import threading
from dataclasses import replace
from multiprocessing.connection import Connection

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.pipeline import CaptionPipeline
from dycoke_cli.captioning.prefetch import Prefetch
from dycoke_cli.errors import DyCokeError

READY, ENDED = "ready", "ended"


def work(connection: Connection, job: Job, number: int, threads: int) -> None:
    """Caption items until the parent sends None or dies. number: of this worker, from 0; threads: of torch on a CPU."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_IGN if hasattr(signal, "SIGKILL") else signal.SIG_DFL)
    inbox: queue.SimpleQueue[list[Item] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    try:
        with Prefetch(job, job.videos_per_worker) as ahead:
            first = inbox.get()
            if first is not None:
                ahead.add(first)  # decoded while the model loads
                _serve(connection, inbox, _pipeline(job, ahead, number, threads))
        connection.send(ENDED)
    except DyCokeError as error:
        connection.send(error)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
    except Exception as error:
        connection.send(DyCokeError(f"a worker failed, {type(error).__name__}: {error}", "Run again without --workers"))


def _pipeline(job: Job, ahead: Prefetch, number: int, threads: int) -> CaptionPipeline:
    import torch

    from dycoke_cli.captioning.captioner import Captioner

    torch.set_num_threads(threads)
    settings = job.settings
    if settings.device in ("auto", "cuda") and torch.cuda.is_available():
        settings = settings.model_copy(update={"device": f"cuda:{number % torch.cuda.device_count()}"})
    job = replace(job, settings=settings)
    return CaptionPipeline(job, Captioner(job), ahead)


def _serve(connection: Connection, inbox: "queue.SimpleQueue[list[Item] | None]", pipeline: CaptionPipeline) -> None:
    connection.send(READY)
    while True:
        busy = pipeline.ahead.left or pipeline.batch
        while not (busy and inbox.empty()):
            items = inbox.get()
            if items is None:
                for record in pipeline.finish():
                    connection.send(record)
                return
            pipeline.ahead.add(items)
            busy = True
        # With no video left to decode, the batch cannot fill: answer it as it is.
        records = pipeline.next_records() if pipeline.ahead.left else pipeline.finish()
        for record in records:
            connection.send(record)


def _listen(connection: Connection, inbox: "queue.SimpleQueue[list[Item] | None]") -> None:
    """Put received messages into the inbox; end this process as soon as its parent is gone."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)
