"""A worker without a model that dies at certain videos, for processes that a pool starts."""

import os
import signal
from multiprocessing.connection import Connection

from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.worker import ENDED, READY
from dycoke_cli.errors import ModelError
from tests.captioning.made import record


def work(connection: Connection, job: Job, number: int, threads: int) -> None:
    """Answer at once; die at `poison*`, report ModelError at `broken*`, and die before READY at `early*`."""
    items = connection.recv()
    if any(item.id.startswith("early") for item in items):
        os._exit(3)
    if any(item.id.startswith("broken") for item in items):
        connection.send(ModelError("the model is torn", "Fetch it again"))
        return
    connection.send(READY)
    while items is not None:
        for item in items:
            if item.id.startswith("poison"):
                os.kill(os.getpid(), signal.SIGKILL)
            connection.send(record(item, f"worker {number}"))
        items = connection.recv()
    connection.send(ENDED)
