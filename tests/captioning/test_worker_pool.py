"""Processes on one queue: those that die are replaced, and the video that kills them is identified."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dycoke_cli.captioning.record import Record
from dycoke_cli.captioning.worker_pool import WorkerPool
from dycoke_cli.errors import DyCokeError, ModelError
from tests.captioning import poison
from tests.captioning.made import items_in, job

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")


def pool(folder: Path, *names: str, count: int = 2) -> WorkerPool:
    return WorkerPool(job(batch=1), items_in(folder, *names), count, poison.work)


def test_a_video_that_kills_its_worker_is_an_error_after_three_tries(tmp_path: Path) -> None:
    """The others are captioned, each once, including those that a dying worker had."""
    names = [f"{number}.mp4" for number in range(9)]
    made = pool(tmp_path, *names[:3], "poison.mp4", *names[3:])
    records = list(made.records(lambda: False))
    assert sorted(record.id for record in records) == sorted([*names, "poison.mp4"])
    (failed,) = [record for record in records if record.error]
    assert (failed.id, failed.reason, made.tries["poison.mp4"]) == ("poison.mp4", "worker_died", 3)
    assert max([tries for name, tries in made.tries.items() if name != "poison.mp4"], default=0) <= 1
    assert all(not worker.process.is_alive() for worker in made.workers)


def test_stopping_ends_the_workers(tmp_path: Path) -> None:
    """Assigned videos may still be finished; no others are assigned, and every process ends."""
    made = pool(tmp_path, *(f"{number:03}.mp4" for number in range(200)))
    seen: list[Record] = []

    def all_records() -> Iterator[Record]:
        for record in made.records(lambda: bool(seen)):
            seen.append(record)
            yield record

    assert 1 <= len(list(all_records())) < 200
    assert made.workers == []


def test_a_model_that_cannot_be_loaded_ends_the_run(tmp_path: Path) -> None:
    """Raises the worker's error where there is one, and an error with a remedy where processes die at their start."""
    with pytest.raises(ModelError, match="the model is torn") as caught:
        list(pool(tmp_path, "broken").records(lambda: False))
    assert caught.value.remedy == "Fetch it again"
    with pytest.raises(DyCokeError, match=r"3 workers died while they loaded the model, the last with status 3"):
        list(pool(tmp_path, "early").records(lambda: False))


def test_the_parent_of_workers_imports_no_torch() -> None:
    """Memory is for the models of the workers, so the parent loads no library of its own for them."""
    parts = "worker_pool, request, output, run, plan, sidecar, summary"
    code = f"import sys; from dycoke_cli.captioning import {parts}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
