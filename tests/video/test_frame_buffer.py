"""FrameBuffer and PendingFrames: frames used while later ones decode, replaced attempts, and PyAV seeking."""

import numpy as np
import pytest

from dycoke_cli.errors import VideoError
from dycoke_cli.video import pyav_reader, worker_process
from dycoke_cli.video.frame_buffer import FrameBuffer
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.probe import read_index
from dycoke_cli.video.reader import VideoReader, read_frames
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip, number, worker_after

EIGHT = Sampling(frames=8)

SLOW = """
import time
from dycoke_cli.video import decord_reader
def slow(*arguments, whole=decord_reader.decode_frames):
    for picture in whole(*arguments):
        yield picture
        time.sleep(0.2)
decord_reader.decode_frames = slow
"""
REFUTED = """
from dycoke_cli.video import decord_reader
def refuted(*arguments, whole=decord_reader.decode_frames):
    for place, picture in enumerate(whole(*arguments)):
        if place == {0}:
            raise decord_reader.DecordRefutedError("gave nonsense")
        yield 255 - picture
    raise decord_reader.DecordRefutedError("gave nonsense")
decord_reader.decode_frames = refuted
"""
CRASH = """
import os
from dycoke_cli.video import {0}
def crash(*arguments, whole={0}.decode_frames):
    yield next(whole(*arguments))
    os.abort()
{0}.decode_frames = crash
"""


@pytest.fixture
def worker(monkeypatch):
    """Return a function that makes readers start a worker which runs `prelude` first."""
    return lambda prelude: monkeypatch.setattr(worker_process, "worker_command", worker_after(prelude))


def test_indexing_waits_for_the_last_frame_it_needs():
    """Positive, negative and empty indices wait for the last frame they need, also in nested `between` buffers."""
    waited, content = [], np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1)

    def load(count):
        waited.append(count)
        return content

    pixels = FrameBuffer(content.shape, load)
    for part, needed in ((slice(2, 5), 5), (slice(5, 2), 0), (slice(0, 0), 0), (3, 4), (-1, 8), (slice(-3, None), 8)):
        assert np.array_equal(pixels[part], content[part])
        assert waited.pop() == needed
    assert np.array_equal(pixels[1:3, 0], content[1:3, 0])
    assert waited.pop() == 3
    assert np.array_equal(np.asarray(pixels), content)
    assert waited.pop() == 8
    middle = pixels.between(2, 6)
    assert (len(middle), middle[1:3].flatten().tolist(), waited.pop()) == (4, [3, 4], 5)
    assert (middle.between(1, 9)[:].flatten().tolist(), waited.pop()) == ([3, 4, 5], 6)
    with pytest.raises(IndexError):
        middle[4]
    assert waited == []


def test_first_frames_are_available_before_the_last(worker):
    worker(SLOW)
    with VideoReader() as reader:
        pending = reader.submit(clip("h264_cfr.mp4"), EIGHT)
        early = pending.announced()
        assert isinstance(early.pixels, FrameBuffer)
        assert early.pixels.shape == (8, 360, 640, 3)
        first = [number(picture) for picture in early.pixels[:2]]
        assert not pending.future.done()
        assert first == list(early.indices[:2])
        rest = early.pixels[2:]
        whole = pending.result()
    assert [number(picture) for picture in rest] == list(whole.indices[2:])
    assert np.shares_memory(rest, whole.pixels)
    assert 0 < pending.waited_s <= pending.seconds + 1
    assert (early.indices, early.seconds, early.info) == (whole.indices, whole.seconds, whole.info)
    assert np.array_equal(early.pixels[-1], whole.pixels[-1])
    assert len(early.pixels[8:]) == 0


@pytest.mark.parametrize("yielded", [3, 8], ids=["before the last frame", "after the last frame"])
def test_replaced_frames_are_another_attempt(yielded, worker):
    """`attempt` increases when the frames of a refuted decoder are replaced."""
    worker(REFUTED.format(yielded))
    with VideoReader() as reader:
        pending = reader.submit(clip("h264_cfr.mp4"), EIGHT)
        first = pending.announced()
        attempt = pending.attempt
        replaced = first.pixels[:]
        if first.info.decoder == "decord":  # else this process was late, and pyav had replaced them
            assert pending.attempt > attempt
            assert number(replaced[0]) != first.indices[0]
        anew = pending.announced()
        assert anew.info.decoder_reason == "decord gave nonsense"
        assert [number(picture) for picture in anew.pixels[:]] == list(pending.result().indices)


def test_failed_decoding_raises_in_the_waiting_caller(worker):
    worker(CRASH.format("decord_reader") + CRASH.format("pyav_reader"))
    with VideoReader() as reader:
        pending = reader.submit(clip("h264_cfr.mp4"), EIGHT)
        with pytest.raises(VideoError, match="crashed"):
            _read_until_error(pending)


def _read_until_error(pending):
    while True:
        pending.announced().pixels[:]


def test_completed_frames_do_not_wait(worker):
    """PendingFrames.completed returns its frames at once and reports the given decoding time."""
    frames = read_frames(clip("two_frames.mp4"), EIGHT)
    pending = PendingFrames.completed("clip", frames, 0.25)
    assert pending.result() is pending.announced() is frames
    assert (pending.seconds, pending.waited_s, pending.size) == (0.25, 0.0, frames.pixels.shape[1:3])


SEEKABLE = ["h264_cfr.mp4", "h264_bf_opengop.mp4", "hevc_8bit.mp4", "editlist_trim.mp4", "vfr_gap.mp4"]


@pytest.mark.parametrize("name", SEEKABLE)
def test_seeking_and_sequential_decoding_are_equal(name):
    """The decoded pictures do not depend on the assumed cost of a seek."""
    index = read_index(str(clip(name)), name, lambda: None)
    assert index.seekable
    size = (index.stored_width // 4, index.height // 4)
    random = np.random.default_rng(0)
    for count in (3, 20):
        chosen = np.sort(random.choice(len(index.pts), count, replace=False))
        results = [
            list(pyav_reader.decode_frames(index, chosen, size, lambda: None, cost)) for cost in (0, 5, 1 << 30, None)
        ]
        assert all(len(pictures) == count for pictures in results)
        for pictures in results[1:]:
            assert all(np.array_equal(one, other) for one, other in zip(results[0], pictures, strict=True))


def test_decoded_frames_are_counted_from_the_nearest_start():
    """`decoded_for` equals counts by hand, with key frames at 0, 60 and 120 of 150."""
    index = read_index(str(clip("h264_cfr.mp4")), "clip", lambda: None)
    keys = np.searchsorted(index.pts, index.keys)
    first, second = keys[:2].tolist()
    assert index.decoded_for(np.array([first])) == 1
    assert index.decoded_for(np.array([first + 5])) == 6
    assert index.decoded_for(np.array([first + 5, first + 9])) == 10
    assert index.decoded_for(np.array([first + 5, second])) == 7
    assert index.decoded_for(np.array([first + 5, second + 2])) == 9
    assert index.decoded_for(np.arange(len(index.pts))) == len(index.pts)
