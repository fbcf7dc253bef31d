"""`--engine ray` with real Ray on this machine; skipped where Ray is not installed."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from dycoke_cli.captioning.attempts import Attempts
from dycoke_cli.captioning.on_ray import Actor
from dycoke_cli.captioning.record import CAPTIONS
from tests.captioning.made import items_in, job, record
from tests.video.made import write

ROOT = Path(__file__).parents[2]
CLIPS = 8
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None or sys.platform == "win32", reason="Ray is not installed: it is the extra `ray`"
)


def test_attempts_outlive_their_process(tmp_path: Path) -> None:
    """Attempts and records can be read from the folder by other objects; `clear` deletes both."""
    one, two = items_in(tmp_path, "one\n.mp4", "two.mp4")
    for _ in range(2):
        Attempts(tmp_path / "tries").begin(one)
    again = Attempts(tmp_path / "tries")
    assert (again.tries(one), again.tries(two), again.record(one)) == (2, 0, None)
    again.finish(record(one))
    assert Attempts(tmp_path / "tries").record(one) == record(one)
    again.clear()
    assert (again.tries(one), again.record(one), (tmp_path / "tries").exists()) == (0, None, False)


def test_a_video_that_killed_three_workers_is_not_tried_again(tmp_path: Path) -> None:
    """A restarted actor reads finished records and the number of attempts from disk."""
    done, poison = items_in(tmp_path, "done.mp4", "poison.mp4")
    attempts = Attempts(tmp_path / "tries")
    for item in (done, poison, poison, poison):
        attempts.begin(item)
    attempts.finish(record(done))
    actor = object.__new__(Actor)
    actor.job, actor.attempts, actor.broken = job(), attempts, ""
    actor.captioner = object()  # type: ignore[assignment]
    given = actor({"items": json.dumps([[item.id, item.path] for item in (done, poison)])})
    kept, dead = (CAPTIONS.read_line(line.encode()) for line in given["records"].splitlines())
    assert kept == record(done)
    assert dead is not None
    assert (dead.id, dead.reason) == ("poison.mp4", "worker_died")


@needs_ray
def test_an_actor_dies_and_the_run_goes_on(tmp_path: Path) -> None:
    """Two actors, one killed amid its work: every clip once, the empty one as an error, and no attempts folder remains.

    Afterwards the same command without Ray has nothing to do.
    """
    for number in range(CLIPS):
        write(tmp_path / f"{number}.mp4", count=4 + number, size=(64, 48))
    (tmp_path / "empty.mp4").touch()
    output = tmp_path / "captions.jsonl"
    command = [sys.executable, "-m", "dycoke_cli", "caption", str(tmp_path), "-m", "demo", "-n", "2"]
    command += ["--max-new-tokens", "4", "--batch-size", "1", "--workers", "2"]
    environment = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "log", "wb") as log:
        run = subprocess.Popen([*command, "--engine", "ray"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    while run.poll() is None and not (output.exists() and output.read_bytes()):
        time.sleep(0.05)
    actors = actors_below(run.pid)
    if actors:
        os.kill(actors[0], signal.SIGKILL)
    assert run.wait(500) == 6, (tmp_path / "log").read_text()
    assert len(actors) == 2
    kept = output.read_text()
    found = [json.loads(line) for line in kept.splitlines()]
    assert sorted(line["id"] for line in found) == [*(f"{number}.mp4" for number in range(CLIPS)), "empty.mp4"]
    assert [line["id"] for line in found if line["error"]] == ["empty.mp4"]
    assert not list(tmp_path.glob(".captions*"))
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (again.returncode, output.read_text()) == (6, kept), again.stderr


def actors_below(pid: int) -> list[int]:
    """Return the ids of a run's actor processes, recognised by the name that Ray sets."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = []
    for child in parents:
        above: int | None = child
        while above is not None and above != pid:
            above = parents.get(above)
        if above == pid and b"MapWorker" in (Path("/proc") / str(child) / "cmdline").read_bytes():
            found.append(child)
    return found
