"""Reading clips: windows, scaling, file names, streams, progress and errors, with each decoder."""

import os
import shutil
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video.reader import VideoReader, read_frames
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip, corners, number, seconds


@pytest.fixture(scope="module")
def readers():
    """One reader for each decoder, each with one worker process for all tests here."""
    with VideoReader("auto") as auto, VideoReader("pyav") as pyav, VideoReader("decord") as decord:
        yield {"auto": auto, "pyav": pyav, "decord": decord}


@pytest.mark.parametrize(("start", "end"), [(1.0, 2.0), (4.5, None), (None, 0.5), (3.21, 3.22)])
@pytest.mark.parametrize(
    ("name", "decoder"), [("h264_cfr.mp4", "decord"), ("h264_cfr.mp4", "pyav"), ("hevc_8bit.mp4", "auto")]
)
@pytest.mark.smoke
def test_a_window_holds_frames_of_the_window_only(name, decoder, start, end, readers):
    frames = readers[decoder].submit(clip(name), Sampling(frames=5, start_s=start, end_s=end)).result()
    times = seconds(name)
    inside = np.flatnonzero((times >= (start or 0)) & (times < (end or np.inf)))
    if not len(inside):
        inside = np.array([np.searchsorted(times, start) - 1])
    assert list(frames.indices) == inside[np.linspace(0, len(inside) - 1, min(5, len(inside)), dtype=int)].tolist()
    assert all(number(picture) == index for picture, index in zip(frames.pixels, frames.indices, strict=True))


def test_a_window_outside_the_video_names_the_real_duration(readers):
    with pytest.raises(VideoError, match=r"60 s to the end .* lasts 5\.00 s") as caught:
        readers["auto"].submit(clip("h264_cfr.mp4"), Sampling(frames=8, start_s=60)).result()
    assert caught.value.reason == "window"


def test_one_frame_a_second_over_a_pause(readers):
    frames = readers["auto"].submit(clip("vfr_gap.mp4"), Sampling(fps=1)).result()
    np.testing.assert_allclose(frames.seconds, [0, 1, 59 / 30, 22, 23], atol=2e-3)
    assert [number(picture) for picture in frames.pixels] == [0, 30, 59, 60, 90]


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize("name", ["h264_cfr.mp4", "rot90.mp4"])
def test_large_pictures_are_scaled_down_in_proportion(name, decoder):
    with VideoReader(decoder, max_pixels=100_000) as reader:
        frames = reader.submit(clip(name), Sampling(frames=3)).result()
    height, width = frames.pixels.shape[1:3]
    assert height * width <= 100_000 < 1.1 * height * width
    assert frames.info.width * frames.info.height == 640 * 360
    assert abs(height / width - frames.info.height / frames.info.width) < 0.01
    upright = [np.rot90(picture, -1) if name == "rot90.mp4" else picture for picture in frames.pixels]
    assert [number(picture) for picture in upright] == list(frames.indices)
    assert {corners(picture) for picture in upright} == {"rgbw"}


def test_frames_that_need_too_much_memory_are_refused():
    with VideoReader(max_bytes=10 << 20) as reader, pytest.raises(VideoError, match="32 frames of 640x360") as caught:
        reader.submit(clip("h264_cfr.mp4"), Sampling(frames=32)).result()
    assert caught.value.reason == "too_large"


NAMES = [
    "with spaces.mp4",
    "ünï 视频.mp4",
    "-rf.mp4",
    "100%03d.mp4",
    "a:b.mp4",
    "https:x.mp4",
    'it\'s "so".mp4',
    "noextension",
]
NAMES += ["wrong.txt", "wrong.m3u8", "new\nline.mp4", "tab\t.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids most of these names")
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read_from_any_folder(name, readers, tmp_path, monkeypatch):
    shutil.copy(clip("two_frames.mp4"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    frames = readers["auto"].submit(name, Sampling(frames=8)).result()
    assert [number(picture) for picture in frames.pixels] == [0, 1]
    assert frames.info.decoder == "decord"
    assert frames.info.path == name


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names files by any bytes")
def test_a_name_that_is_no_text_is_read(readers, tmp_path):
    path = bytes(tmp_path) + b"/\xff\xfe.mp4"
    shutil.copy(clip("two_frames.mp4"), path)
    frames = readers["auto"].submit(os.fsdecode(path), Sampling(frames=8)).result()
    assert [number(picture) for picture in frames.pixels] == [0, 1]


@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_a_playlist_opens_nothing(name, readers, tmp_path):
    shutil.copy(clip("two_frames.mp4"), tmp_path / "two_frames.mp4")
    text = "ffconcat version 1.0\nfile two_frames.mp4\n"
    if name != "list.ffconcat":
        text = clip("playlist_local.mp4").read_text().replace("h264.ts", "two_frames.mp4")
    (tmp_path / name).write_text(text)
    with pytest.raises(VideoError, match="is a playlist"):
        readers["auto"].submit(tmp_path / name, Sampling(frames=8)).result()


def _write(path, sizes, lengths, rate=10):
    """Write an mp4 with one stream for each (width, height), whose grey level rises by 8 per frame."""
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in sizes:
            stream = container.add_stream("mpeg4", rate=rate)
            stream.width, stream.height, stream.pix_fmt, stream.time_base = width, height, "yuv420p", Fraction(1, rate)
            streams.append(stream)
        streams[-1].disposition = Disposition.default
        for stream, length in zip(streams, lengths, strict=True):
            for place in range(length):
                grey = np.full((stream.height, stream.width, 3), 8 * place, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey)
                frame.pts = place
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def test_the_best_of_several_streams_is_taken(readers, tmp_path):
    _write(tmp_path / "two.mp4", [(64, 48), (320, 240)], [12, 12])
    frames = readers["auto"].submit(tmp_path / "two.mp4", Sampling(frames=4)).result()
    assert frames.pixels.shape == (4, 240, 320, 3)
    assert frames.indices == (0, 3, 7, 11)
    assert np.abs(frames.pixels.mean(axis=(1, 2, 3)) - 8 * np.array(frames.indices)).max() < 4


@pytest.mark.smoke
def test_the_facts_go_into_json(readers):
    info = readers["auto"].submit(clip("vfr_gap.mp4"), Sampling(frames=2)).result().info
    facts = info.as_json()
    assert facts["frames_total"] == 120
    assert facts["duration_s"] == pytest.approx(24.0, abs=0.05)
    assert facts["fps"] == pytest.approx(5.0, abs=0.05)


def test_the_front_door_reads_and_tells_progress():
    calls = []
    frames = read_frames(
        clip("h264_cfr.mp4"), Sampling(frames=5), on_progress=lambda done, total: calls.append((done, total))
    )
    assert [number(picture) for picture in frames.pixels] == list(frames.indices) == [0, 37, 74, 111, 149]
    assert calls
    assert calls == sorted(calls)
    assert calls[-1] == (5, 5)


def test_an_unknown_decoder_is_refused():
    with pytest.raises(UsageError, match="'vlc' is not a decoder"):
        read_frames(clip("h264_cfr.mp4"), Sampling(frames=5), decoder="vlc")
