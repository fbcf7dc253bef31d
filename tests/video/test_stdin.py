"""A video from standard input is read like a file, within limits of size and time, and leaves no temporary file."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dycoke_cli.errors import VideoError
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip, number

CODE = """
import sys
from dycoke_cli.errors import VideoError
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
try:
    with VideoReader(timeout_s={timeout_s}, max_piped_bytes={limit}) as reader:
        frames = reader.submit("-", Sampling(frames=4)).result()
        print(frames.info.path, frames.info.decoder, list(frames.indices), frames.pixels.shape)
except VideoError as error:
    print(error.reason, error.message, error.remedy, sep="|")
"""


def piped(stdin, timeout_s=60, limit=1 << 30):
    """Run a process that reads a video from standard input -> its output."""
    code = CODE.format(timeout_s=timeout_s, limit=limit)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": tempfile.gettempdir()}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=stdin,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder for temporary files, which must be empty at the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


def test_a_video_comes_through_a_pipe():
    with subprocess.Popen(["cat", clip("h264_cfr.mp4")], stdout=subprocess.PIPE) as cat:
        assert piped(cat.stdout) == "- decord [0, 49, 99, 149] (4, 360, 640, 3)"


def test_a_file_may_stand_in_for_a_pipe_and_a_child_may_be_replaced(monkeypatch):
    with clip("two_frames.mp4").open("rb") as file, VideoReader() as reader:
        monkeypatch.setattr(sys, "stdin", file)
        frames = reader.submit("-", Sampling()).result()
    assert [number(picture) for picture in frames.pixels] == [0, 1]
    assert frames.info.path == "-"


def test_what_is_no_video_is_told_of_standard_input():
    with clip("text.mp4").open() as file:
        assert piped(file).startswith("not_a_video|standard input is not a video that can be read")


def test_nothing_piped_is_a_sentence():
    assert piped(subprocess.DEVNULL).startswith("empty|standard input is empty")


def test_too_much_is_a_sentence():
    with clip("h264_cfr.mp4").open() as file:
        output = piped(file, limit=100_000)
    assert output.startswith("too_large|standard input holds more than")
    assert "to a file" in output


@pytest.mark.skipif(sys.platform == "win32", reason="pipes cannot be waited for there")
def test_silence_is_a_sentence():
    silent, writer = os.pipe()
    try:
        assert piped(silent, timeout_s=0.3).startswith("timeout|standard input sent nothing for 0.3 s")
    finally:
        os.close(silent)
        os.close(writer)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="POSIX terminals")
def test_a_terminal_is_a_sentence():
    ours, theirs = os.openpty()
    try:
        assert "standard input is a terminal" in piped(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def test_no_standard_input_at_all_is_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with VideoReader() as reader, pytest.raises(VideoError, match="standard input"):
        reader.submit("-", Sampling())
