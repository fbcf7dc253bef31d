"""Caption records made on a Ray cluster: Ray Data distributes rows of videos to actors, each with its own model.

Ray is an optional extra that no other module imports. Its checkpoints are off, because the output file already records
what is done, and so are its progress bars.
"""

import json
import logging
import math
import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from dycoke_cli.captioning.attempts import Attempts
from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.pipeline import reason_of, records_here
from dycoke_cli.captioning.record import CAPTIONS, Record
from dycoke_cli.captioning.worker_pool import TRIES, death_record
from dycoke_cli.errors import DyCokeError, UsageError

STARTS = 3  # attempts to start Ray on this machine


class Actor:
    """Makes the records of successive rows of videos; an error with a video becomes its record."""

    def __init__(self, job: Job, attempts: str, threads: int) -> None:
        import torch

        from dycoke_cli.captioning.captioner import Captioner

        torch.set_num_threads(threads)
        self.job, self.attempts = job, Attempts(Path(attempts))
        self.captioner: Captioner | None = None
        self.broken = ""
        try:
            self.captioner = Captioner(job)
        except DyCokeError as error:  # Ray restarts an actor whose constructor raises, without limit
            self.broken = json.dumps([type(error).__name__, error.message, error.remedy])

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Caption a row {"items": [[id, path], ...]}; return {"records": JSON lines, "broken": JSON}.

        "broken" is [name, message, remedy] of the error that kept the model from loading, else empty. Lists are passed
        as JSON text, because Arrow strings cannot hold file names that are not valid Unicode.
        """
        if self.broken:
            return {"records": "", "broken": self.broken}
        items = [Item(id, path) for id, path in json.loads(row["items"])]
        known = {item: self.attempts.record(item) for item in items}
        left = [item for item in items if known[item] is None]
        suspects = [item for item in left if self.attempts.tries(item)]
        records = [record for record in known.values() if record is not None]
        records += self._made([item for item in left if item not in suspects])
        for item in suspects:  # one of them may have killed a worker, so each runs alone
            dead = self.attempts.tries(item) >= TRIES
            records += [death_record(item, self.job.recipe)] if dead else self._made([item])
        return {"records": "".join(CAPTIONS.line(record).decode() for record in records), "broken": ""}

    def _made(self, items: Sequence[Item]) -> list[Record]:
        for item in items:
            self.attempts.begin(item)
        records: list[Record] = []
        try:
            records.extend(records_here(self.job, items, lambda: False, self.captioner))
        except Exception as error:  # Ray would abort the whole run
            failure = error if isinstance(error, DyCokeError) else DyCokeError(f"{type(error).__name__}: {error}")
            done = {record.id for record in records}
            missing = [item for item in items if item.id not in done]
            records += [Record.failed(item, self.job.recipe, failure.message, reason_of(failure)) for item in missing]
        for record in records:
            self.attempts.finish(record)
        return records


def records_on_ray(
    job: Job, items: Sequence[Item], count: int, folder: Path, address: str | None, stopped: Callable[[], bool]
) -> Generator[Record]:
    """Make records in `count` actors, on this machine or on the cluster at `address`.

    folder: for attempts and records, which outlive a worker; on a disk that all workers share. Raises UsageError where
    Ray is missing, DyCokeError where it does not start.
    """
    ray = _import_ray()
    attempts = Attempts(folder)
    left = []
    for item in items:  # a killed run may have left records that its workers finished
        record = attempts.record(item)
        if record is not None and record.error is None and record.is_current(item, job.recipe):
            yield record
        else:
            left.append(item)
    attempts.clear()  # the cause of earlier deaths may be fixed: count attempts anew
    if not left:
        return
    try:
        _start(ray, address)
        with closing(_lines(ray, job, left, count, folder)) as lines:
            for line in lines:
                record = CAPTIONS.read_line(line.encode())
                assert record is not None
                yield record
                if stopped():
                    return
        attempts.clear()
    finally:
        ray.shutdown()


def _lines(ray: Any, job: Job, items: Sequence[Item], count: int, folder: Path) -> Generator[str]:
    """Yield the JSON lines of records as rows are finished, in any order."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.execution_options.preserve_order = False
    size = max(1, min(job.planned_batch, math.ceil(len(items) / count)))
    groups = [items[at : at + size] for at in range(0, len(items), size)]
    rows = [{"items": json.dumps([[item.id, item.path] for item in group])} for group in groups]
    gpus = 1 if ray.cluster_resources().get("GPU") and job.settings.device != "cpu" else 0
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Actor,
        compute=ray.data.ActorPoolStrategy(size=min(count, len(rows))),
        fn_constructor_kwargs={"job": job, "attempts": str(folder), "threads": 1},
        num_gpus=gpus,
    )
    for row in data.iter_rows():
        if row["broken"]:
            name, message, remedy = json.loads(row["broken"])
            kinds = {kind.__name__: kind for kind in DyCokeError.__subclasses__()}
            raise kinds.get(name, DyCokeError)(message, remedy)
        # Not `splitlines`: JSON strings may contain other Unicode line separators.
        yield from row["records"].removesuffix("\n").split("\n")


def _start(ray: Any, address: str | None) -> None:
    """Start Ray on this machine, or connect to the cluster at `address`. Raises DyCokeError where that fails."""
    handler = signal.getsignal(signal.SIGTERM)
    for starts_left in reversed(range(STARTS)):
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end the run at once
            return
        except Exception as error:  # Ray raises plain ones, also where a busy machine exceeds its 30 s
            ray.shutdown()
            if not starts_left or address is not None:
                where = "here" if address is None else f"at {address!r}"
                raise DyCokeError(
                    f"no Ray {where}: {str(error).splitlines()[0]}", "See `ray status`, or run without --engine ray"
                ) from error


def _import_ray() -> Any:
    # Workers run this interpreter, not `uv run` in a copy of the folder; Ray sends no usage reports.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--engine ray needs Ray, which is not installed", "pip install 'dycoke[ray]'") from None
    return ray
