"""Faults injected into real runs: no finished caption is lost, and none is in the output twice."""

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
    """Sixteen clips of different lengths."""
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
    """kill -9 at random moments, then the same command: every clip once, with the caption of an undisturbed run."""
    output, log = tmp_path / "out.jsonl", tmp_path / "log"
    rng = random.Random()
    lines_before = 0
    for _ in range(5):
        pid = launcher.start(log, "caption", str(clips), "--output", str(output), *QUICK)
        appears(output, min(lines_before + 1, CLIPS))
        time.sleep(rng.random() * 0.3)
        os.kill(pid, signal.SIGKILL)
        launcher.wait(pid)
        # Finished lines are never removed.
        lines_after = output.read_bytes().count(b"\n")
        assert lines_after >= lines_before
        lines_before = lines_after
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 0, log.read_text()
    after = captions(output)
    assert len(after) == CLIPS
    undisturbed = tmp_path / "undisturbed.jsonl"
    assert launcher.run(log, "caption", str(clips), "--output", str(undisturbed), *QUICK) == 0
    assert captions(undisturbed) == after
    assert all(after.values())
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_ctrl_c_finishes_and_a_second_one_ends(launcher: Launcher, clips: Path, tmp_path: Path) -> None:
    """Once: the current batch is finished and kept, exit 130; twice: the run ends at once, and no line is torn."""
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
    assert "Finishing the current batch" in log.read_text()
    stopped = len(captions(output))
    assert 1 <= stopped < CLIPS
    pid = launcher.start(log, "caption", str(clips), "--output", str(output), "--prompt", "what?", *QUICK)
    appears(output, stopped + 1)
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)  # another signal, because two equal pending ones are delivered once
    os.kill(pid, signal.SIGCONT)
    assert launcher.wait(pid) == 130
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 0
    assert len(captions(output)) == CLIPS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 KiB; skips where this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_full_and_read_only_disks(launcher: Launcher, clips: Path, small_disk: Path, tmp_path: Path) -> None:
    """Full: an error, whole records stay, and with room the run resumes. Read-only: refused before any work."""
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
    assert "mean nothing" not in log.read_text()  # the notice printed before the demo model is loaded
    assert time.monotonic() - began < 60


def test_workers_die_and_the_run_goes_on(launcher: Launcher, clips: Path, tmp_path: Path) -> None:
    """One of two workers is killed amid its work: the same captions as without workers, each once, and exit 0."""
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
    """SIGTERM to run, workers and decoders, as a cluster sends it at a time limit: the current batch is kept."""
    output, log = tmp_path / "out.jsonl", tmp_path / "log"
    pid = launcher.start(log, "caption", str(clips), "--output", str(output), "--workers", "2", *QUICK)
    appears(output, 1)
    for one in (*descendants(pid), pid):
        os.kill(one, signal.SIGTERM)
    assert launcher.wait(pid) == 130, log.read_text()
    assert "Finishing the current batch" in log.read_text()
    assert not any(line["error"] for line in lines(output))
    assert 1 <= len(captions(output)) < CLIPS
    assert launcher.run(log, "caption", str(clips), "--output", str(output), *QUICK) == 0
    assert len(captions(output)) == CLIPS


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def workers_of(pid: int) -> list[int]:
    """Return the ids of a run's worker processes, without its decoders."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_text()
            if "spawn_main" in command:
                found.append(int(child))
    return found
