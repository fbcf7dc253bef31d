"""The first frames are used while later ones decode, and nothing that turns out wrong is ever taken for right."""

import numpy as np
import pytest

from dycoke_cli.errors import VideoError
from dycoke_cli.video import pyav_reader
from dycoke_cli.video import worker_process as child_module
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
    """Replaces the worker by one that a piece of code has changed first."""
    return lambda prelude: monkeypatch.setattr(child_module, "worker_command", worker_after(prelude))


def test_indexing_waits_for_the_last_frame_it_needs():
    """Counted from the end too; for no frames there is nothing to wait for; in a part of a part as in the whole."""
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


def test_the_first_frames_are_used_before_the_last_are_there(worker):
    worker(SLOW)
    with VideoReader() as reader:
        pending = reader.submit(clip("h264_cfr.mp4"), EIGHT)
        coming = pending.announced()
        assert isinstance(coming.pixels, FrameBuffer)
        assert coming.pixels.shape == (8, 360, 640, 3)
        first = [number(picture) for picture in coming.pixels[:2]]
        assert not pending.future.done()
        assert first == list(coming.indices[:2])
        rest = coming.pixels[2:]
        whole = pending.result()
    assert [number(picture) for picture in rest] == list(whole.indices[2:])
    assert np.shares_memory(rest, whole.pixels)
    assert 0 < pending.waited_s <= pending.seconds + 1
    assert (coming.indices, coming.seconds, coming.info) == (whole.indices, whole.seconds, whole.info)
    assert np.array_equal(coming.pixels[-1], whole.pixels[-1])
    assert len(coming.pixels[8:]) == 0


@pytest.mark.parametrize("shown", [3, 8], ids=["amid the frames", "after the last one"])
def test_replaced_frames_are_another_attempt(shown, worker):
    """Whoever waits for all frames of a decoder that is refuted learns from `attempt` that they are void."""
    worker(REFUTED.format(shown))
    with VideoReader() as reader:
        pending = reader.submit(clip("h264_cfr.mp4"), EIGHT)
        first = pending.announced()
        attempt = pending.attempt
        void = first.pixels[:]
        if first.info.decoder == "decord":  # else the parent was slow, and never saw them
            assert pending.attempt > attempt
            assert number(void[0]) != first.indices[0]
        anew = pending.announced()
        assert anew.info.decoder_reason == "decord gave nonsense"
        assert [number(picture) for picture in anew.pixels[:]] == list(pending.result().indices)


def test_frames_that_never_come_are_an_error_for_who_waits(worker):
    worker(CRASH.format("decord_reader") + CRASH.format("pyav_reader"))
    with VideoReader() as reader:
        pending = reader.submit(clip("h264_cfr.mp4"), EIGHT)
        with pytest.raises(VideoError, match="crashed"):
            _wait_for_ever(pending)


def _wait_for_ever(pending):
    while True:
        pending.announced().pixels[:]


def test_a_future_of_decoded_frames_is_done(worker):
    """It waits for nothing, and its times are those that decoding took."""
    frames = read_frames(clip("two_frames.mp4"), EIGHT)
    pending = PendingFrames.completed("clip", frames, 0.25)
    assert pending.result() is pending.announced() is frames
    assert (pending.seconds, pending.waited_s, pending.size) == (0.25, 0.0, frames.pixels.shape[1:3])


SEEKABLE = ["h264_cfr.mp4", "h264_bf_opengop.mp4", "hevc_8bit.mp4", "editlist_trim.mp4", "vfr_gap.mp4"]


@pytest.mark.parametrize("name", SEEKABLE)
def test_seeking_and_reading_on_show_the_same(name):
    """Whatever a seek is said to cost, on every choice of frames."""
    index = read_index(str(clip(name)), name, lambda: None)
    assert index.seekable
    size = (index.stored_width // 4, index.height // 4)
    random = np.random.default_rng(0)
    for count in (3, 20):
        chosen = np.sort(random.choice(len(index.pts), count, replace=False))
        ways = [
            list(pyav_reader.decode_frames(index, chosen, size, lambda: None, cost)) for cost in (0, 5, 1 << 30, None)
        ]
        assert all(len(pictures) == count for pictures in ways)
        for pictures in ways[1:]:
            assert all(np.array_equal(one, other) for one, other in zip(ways[0], pictures, strict=True))


def test_the_work_is_counted_from_key_frames_or_from_the_frame_before():
    """Key frames at 0, 60 and 120 of 150: by hand."""
    index = read_index(str(clip("h264_cfr.mp4")), "clip", lambda: None)
    keys = np.searchsorted(index.pts, index.keys)
    first, second = keys[:2].tolist()
    assert index.decoded_for(np.array([first])) == 1
    assert index.decoded_for(np.array([first + 5])) == 6
    assert index.decoded_for(np.array([first + 5, first + 9])) == 10
    assert index.decoded_for(np.array([first + 5, second])) == 7
    assert index.decoded_for(np.array([first + 5, second + 2])) == 9
    assert index.decoded_for(np.arange(len(index.pts))) == len(index.pts)
