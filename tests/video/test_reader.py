"""VideoReader: hangs, crashes and wrong frames of decoders, and release of processes, files and memory."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video import worker_process
from dycoke_cli.video.reader import VideoReader, read_frames
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.shared_memory import SharedPixels, open_shared_pixels
from tests.video.clips import clip, looks_right, number, worker_after

ROOT = Path(__file__).parent.parent.parent
EIGHT = Sampling(frames=8)
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

HANG = "import time; from dycoke_cli.video import {0}; {0}.decode_frames = lambda *_: time.sleep(60)\n"
CRASH = """
import os, signal
from dycoke_cli.video import {0}
def crash_late(*arguments, whole={0}.decode_frames):
    for picture in whole(*arguments):
        yield picture
        os.kill(os.getpid(), signal.{1})
{0}.decode_frames = crash_late
"""
NO_DECORD_RISK = "from dycoke_cli.video import probe; probe.decord_risk = lambda *_: None\n"


@pytest.fixture
def worker(monkeypatch):
    """Return a function that makes readers start a worker which runs `prelude` first."""
    return lambda prelude: monkeypatch.setattr(worker_process, "worker_command", worker_after(prelude))


def _is_running(pid):
    """Return True if the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return not Path("/proc/self").exists()


def _ends(pid, within_s=5.0):
    deadline = time.monotonic() + within_s
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _is_running(pid)


def test_hanging_decord_is_killed_and_pyav_decodes(worker):
    worker(HANG.format("decord_reader"))
    with VideoReader(stall_s=0.5) as reader:
        pending = reader.submit(clip("h264_cfr.mp4"), EIGHT)
        while reader.child_pid is None:
            time.sleep(0.01)
        first = reader.child_pid
        frames = pending.result()
        assert _ends(first)
    assert [number(picture) for picture in frames.pixels] == list(frames.indices)
    assert len(frames) == 8
    assert frames.info.decoder == "pyav"
    assert frames.info.decoder_reason.startswith("the first attempt made no progress for")


@posix
@pytest.mark.parametrize("fatal", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_pyav_replaces_a_decoder_that_crashes_between_frames(fatal, worker, capfd):
    worker(CRASH.format("decord_reader", fatal))
    frames = read_frames(clip("h264_cfr.mp4"), EIGHT)
    assert [number(picture) for picture in frames.pixels] == list(frames.indices)
    assert len(frames) == 8
    assert frames.info.decoder_reason == f"the first attempt crashed ({fatal})"
    assert capfd.readouterr() == ("", "")


@posix
def test_two_failures_raise_one_error(worker):
    worker(HANG.format("decord_reader") + CRASH.format("pyav_reader", "SIGSEGV"))
    with VideoReader(stall_s=0.5) as reader, pytest.raises(VideoError) as caught:
        reader.submit(clip("h264_cfr.mp4"), EIGHT).result()
    assert "made no progress for" in caught.value.message
    assert "crashed (SIGSEGV)" in caught.value.message
    assert "h264_cfr.mp4" in caught.value.message
    assert caught.value.reason == "crash"
    assert caught.value.exit_code == 3


def test_two_hangs_raise_a_timeout(worker):
    worker(HANG.format("decord_reader") + HANG.format("pyav_reader"))
    with VideoReader(stall_s=0.3) as reader, pytest.raises(VideoError) as caught:
        reader.submit(clip("one_frame.mp4"), EIGHT).result()
    assert caught.value.reason == "timeout"
    assert caught.value.message.count("made no progress") == 2


def test_slow_progress_is_limited_by_the_timeout_only(worker):
    worker(
        "import time; from dycoke_cli.video import decord_reader\n"
        "def slow(*arguments, whole=decord_reader.decode_frames):\n"
        "    for picture in whole(*arguments):\n"
        "        time.sleep(0.3); yield picture\n"
        "decord_reader.decode_frames = slow"
    )
    with VideoReader(stall_s=2, timeout_s=30) as reader:
        frames = reader.submit(clip("h264_cfr.mp4"), EIGHT).result()  # 2.4 s in all
        assert frames.info.decoder == "decord"
    began = time.monotonic()
    with (
        VideoReader(stall_s=2, timeout_s=1.5) as reader,
        pytest.raises(VideoError, match=r"took longer than 1\.5 s") as caught,
    ):
        reader.submit(clip("h264_cfr.mp4"), EIGHT).result()
    assert caught.value.reason == "timeout"
    assert time.monotonic() - began < 5


def test_worker_that_does_not_start_raises_video_error(monkeypatch):
    monkeypatch.setattr(worker_process, "worker_command", lambda: ["/nonexistent/python"])
    with pytest.raises(VideoError, match="could not be started"):
        read_frames(clip("one_frame.mp4"), EIGHT)
    monkeypatch.setattr(worker_process, "worker_command", lambda: [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(VideoError, match=r"status 7, then .* status 7"):
        read_frames(clip("one_frame.mp4"), EIGHT)


@pytest.mark.parametrize("name", ["h264.ts", "editlist_trim.mp4", "hevc_8bit.mp4", "h264_bf_opengop.mp4"])
def test_wrong_frames_of_decord_are_detected_without_the_probe(name, worker):
    worker(NO_DECORD_RISK)
    frames = read_frames(clip(name), Sampling(frames=32))
    assert frames.info.decoder == "pyav"
    assert frames.info.decoder_reason.startswith(("decord counts 100 frames", "decord gave another picture"))
    assert all(looks_right(name, *pair) for pair in zip(frames.pixels, frames.seconds, strict=True))


def test_pyav_decodes_if_decord_is_not_installed(worker):
    worker("import sys; sys.modules['decord'] = None")
    frames = read_frames(clip("h264_cfr.mp4"), EIGHT)
    assert (frames.info.decoder, frames.info.decoder_reason) == ("pyav", "decord is not installed")
    assert [number(picture) for picture in frames.pixels] == list(frames.indices)
    with pytest.raises(UsageError, match="decord is not installed") as caught:
        read_frames(clip("h264_cfr.mp4"), EIGHT, decoder="decord")
    assert "pyav" in caught.value.remedy


def test_output_of_libraries_is_discarded(worker, capfd):
    worker(
        "import os; from dycoke_cli.video import decord_reader\n"
        "def loud(*arguments, whole=decord_reader.decode_frames):\n"
        "    os.write(1, b'noise from C\\n'); os.write(2, b'more noise\\n'); print('and from Python')\n"
        "    yield from whole(*arguments)\n"
        "decord_reader.decode_frames = loud"
    )
    frames = read_frames(clip("h264_cfr.mp4"), EIGHT)
    assert frames.info.decoder == "decord"
    assert capfd.readouterr() == ("", "")


def test_one_worker_serves_many_requests_and_survives_errors():
    with VideoReader() as reader:
        names = ["two_frames.mp4", "text.mp4", "h264_cfr.mp4", "audio_only.mp4", "one_frame.mp4"]
        pending = [reader.submit(clip(name), EIGHT) for name in names]
        kept = pending[0].result()
        pid, before = reader.child_pid, kept.pixels.copy()
        with pytest.raises(VideoError):
            pending[1].result()
        assert len(pending[2].result()) == 8
        with pytest.raises(VideoError):
            pending[3].result()
        assert len(pending[4].result()) == 1
        assert reader.child_pid == pid
        assert np.array_equal(kept.pixels, before)  # later requests do not overwrite earlier frames
        assert pending[2].result() is pending[2].result()


@posix
def test_worker_that_dies_between_requests_is_replaced():
    with VideoReader() as reader:
        reader.submit(clip("one_frame.mp4"), EIGHT).result()
        pid = reader.child_pid
        os.kill(pid, signal.SIGKILL)
        assert _ends(pid)
        frames = reader.submit(clip("two_frames.mp4"), EIGHT).result()
        assert frames.info.decoder == "decord"
        assert reader.child_pid != pid


def test_closing_does_not_wait_for_a_hanging_worker(worker):
    worker(HANG.format("decord_reader"))
    with VideoReader() as reader:
        pending = reader.submit(clip("one_frame.mp4"), EIGHT)
        while pending.total == 0:
            time.sleep(0.01)
        pid, began = reader.child_pid, time.monotonic()
    assert time.monotonic() - began < 3
    assert _ends(pid)
    with pytest.raises(VideoError):
        pending.result()
    with pytest.raises(RuntimeError):
        reader.submit(clip("one_frame.mp4"), EIGHT)


PARENT = """
import signal
from dycoke_cli.video import worker_process
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip, worker_after
worker_process.worker_command = worker_after({prelude!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
with VideoReader() as reader:
    pending = reader.submit(clip("one_frame.mp4"), Sampling(frames=1))
    while not (pending.total or pending.future.done()):
        pass
    print(reader.child_pid, flush=True)
    pending.result()
"""


@posix
@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_worker_ends_with_its_parent(fatal):
    code = PARENT.format(prelude=HANG.format("decord_reader"))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        pid = int(parent.stdout.readline())
        assert _is_running(pid)
        began = time.monotonic()
        parent.send_signal(fatal)
        assert parent.wait(5) != 0
        assert _ends(pid)
        assert time.monotonic() - began < 5
        assert ("KeyboardInterrupt" in parent.stderr.read()) == (fatal == signal.SIGINT)


def _open_resources():
    shared = Path("/dev/shm")
    return (
        len(list(Path("/proc/self/fd").iterdir())),
        sorted(shared.iterdir()) if shared.is_dir() else [],
        sorted(Path(tempfile.gettempdir()).iterdir()),
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closed_readers_release_files_memory_and_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    read_frames(clip("two_frames.mp4"), EIGHT)
    before = _open_resources()
    with VideoReader() as reader:
        for place in range(12):
            assert len(reader.submit(clip("two_frames.mp4"), EIGHT).result()) == 2
            if place == 5:
                handles_while_open = _open_resources()[0]
        assert _open_resources()[0] == handles_while_open
        pids = [reader.child_pid]
    for _ in range(3):
        with VideoReader() as reader:
            reader.submit(clip("one_frame.mp4"), EIGHT).result()
            pids.append(reader.child_pid)
    assert _open_resources() == before
    assert not any(_is_running(pid) for pid in pids)


def test_reader_and_worker_do_not_import_torch():
    code = (
        "import sys; import dycoke_cli.video.reader, dycoke_cli.video.worker\n"
        "print(sorted({'torch', 'transformers', 'PIL', 'decord'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_modules_in_the_working_folder_are_not_imported(tmp_path, monkeypatch):
    for name in ("numpy", "av", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert len(read_frames(clip("one_frame.mp4"), EIGHT)) == 1


def test_shared_pixels_are_not_copied_and_raise_after_close():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    theirs = SharedPixels(pictures.nbytes)
    ours = open_shared_pixels(theirs.handle, (3, 4, 5, 3))
    for slot in (2, 0, 1):
        theirs.write(slot, np.asfortranarray(pictures[slot]))
        assert np.array_equal(ours[slot], pictures[slot])  # shared, not copied
    theirs.close()
    assert np.array_equal(ours, pictures)
    with pytest.raises(OSError):  # noqa: PT011
        open_shared_pixels(theirs.handle, (3, 4, 5, 3))
