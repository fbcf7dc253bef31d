"""What may happen to a run, done to real ones: nothing that was finished is lost, and nothing is there twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captioning.launcher import Launcher, appears
from tests.video.made import write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals, and tmpfs")
QUICK = ("-m", "demo", "-n", "2", "--max-new-tokens", "4", "--batch-size", "2")
CLIPS = 16


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    made = Launcher()
    yield made
    made.close()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen clips that differ."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        write(folder / f"{number:02}.mp4", count=4 + number, size=(64, 48))
    return folder


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def captions(path: Path) -> dict[object, object]:
    found = lines(path)
    assert max(Counter(line["id"] for line in found).values()) == 1
    return {line["id"]: line["caption"] for line in found}


def test_a_run_killed_five_times_loses_nothing(launcher: Launcher, clips: Path, tmp_path: Path) -> None:
    """kill -9 at random moments, then the same command: every clip once, with the caption of a run left in peace."""
    output, log = tmp_path / "out.jsonl", tmp_path / "log"
    dice = random.Random()
    seen = 0
    for _ in range(5):
        pid = launcher.start(log, "caption", str(clips), "--output", str(output), *QUICK)
        appears(output, min(seen + 1, CLIPS))
        time.sleep(dice.random() * 0.3)
        os.kill(pid, signal.SIGKILL)
        launcher.wait(pid)
        # Whatever was there before is still there: finished lines are never taken back.
        whole = output.read_bytes().count(b"\n")
        assert whole >= seen
        seen = whole
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 0, log.read_text()
    after = captions(output)
    assert len(after) == CLIPS
    peace = tmp_path / "peace.jsonl"
    assert launcher.run(log, "caption", str(clips), "--output", str(peace), *QUICK) == 0
    assert captions(peace) == after
    assert all(after.values())
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_ctrl_c_finishes_and_a_second_one_ends(launcher: Launcher, clips: Path, tmp_path: Path) -> None:
    """Once: what the model is at is kept, exit 130, and the rest is left; twice: at once, and nothing is torn."""
    output, log = tmp_path / "out.jsonl", tmp_path / "log"
    pid = launcher.start(log, "caption", str(clips), "--output", str(output), *QUICK)
    appears(output, 1)
    # While it stops, another run on the same output is refused.
    os.kill(pid, signal.SIGSTOP)
    second = tmp_path / "second"
    assert launcher.run(second, "caption", str(clips), "--output", str(output), *QUICK) == 2
    assert f"is being written by another run: process {pid} on " in second.read_text()
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGCONT)
    assert launcher.wait(pid) == 130
    assert "Finishing what the model is at" in log.read_text()
    stopped = len(captions(output))
    assert 1 <= stopped < CLIPS
    pid = launcher.start(log, "caption", str(clips), "--output", str(output), "--prompt", "what?", *QUICK)
    appears(output, stopped + 1)
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)  # a different one, because two of a kind become one while they wait
    os.kill(pid, signal.SIGCONT)
    assert launcher.wait(pid) == 130
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 0
    assert len(captions(output)) == CLIPS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 KiB; mounting one takes rights that not every machine gives."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_full_and_read_only_disks(launcher: Launcher, clips: Path, small_disk: Path, tmp_path: Path) -> None:
    """Full: told in a line, whole lines stay, and with room the run goes on. Read-only: refused before any work."""
    output, log = small_disk / "out.jsonl", tmp_path / "log"
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 2
    assert "cannot be written: No space left on device" in log.read_text()
    kept = captions(output)
    assert 1 <= len(kept) < CLIPS
    subprocess.run(["mount", "-o", "remount,size=256k", small_disk], check=True)
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 0
    after = captions(output)
    assert len(after) == CLIPS
    assert kept.items() <= after.items()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    log.write_text("")
    began = time.monotonic()
    assert launcher.run(log, "caption", str(clips), "--output", str(small_disk / "new.jsonl"), *QUICK) == 2
    assert "cannot be written: Read-only file system" in log.read_text()
    assert "mean nothing" not in log.read_text()  # the model was not even named
    assert time.monotonic() - began < 60


def test_workers_die_and_the_run_goes_on(launcher: Launcher, clips: Path, tmp_path: Path) -> None:
    """One of two is killed amid its work, another right after: the same captions, each once, and exit 0."""
    output, log = tmp_path / "out.jsonl", tmp_path / "log"
    pid = launcher.start(log, "caption", str(clips), "--output", str(output), "--workers", "2", *QUICK)
    appears(output, 1)
    victims = workers_of(pid)
    assert len(victims) == 2
    os.kill(victims[0], signal.SIGKILL)
    assert launcher.wait(pid) == 0, log.read_text()
    alone = tmp_path / "alone.jsonl"
    assert launcher.run(log, "caption", str(clips), "--output", str(alone), *QUICK) == 0
    assert captions(output) == captions(alone)


def test_sigterm_to_all_processes_finishes_and_keeps(launcher: Launcher, clips: Path, tmp_path: Path) -> None:
    """As a cluster sends it at the end of its time: run, workers and decoders get it, and what is begun is kept."""
    output, log = tmp_path / "out.jsonl", tmp_path / "log"
    pid = launcher.start(log, "caption", str(clips), "--output", str(output), "--workers", "2", *QUICK)
    appears(output, 1)
    for one in (*descendants(pid), pid):
        os.kill(one, signal.SIGTERM)
    assert launcher.wait(pid) == 130, log.read_text()
    assert "Finishing what the model is at" in log.read_text()
    assert not any(line["error"] for line in lines(output))
    assert 1 <= len(captions(output)) < CLIPS
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 0
    assert len(captions(output)) == CLIPS


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def workers_of(pid: int) -> list[int]:
    """The spawned processes of a run that hold a model, not its decoders."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_text()
            if "spawn_main" in command:
                found.append(int(child))
    return found
