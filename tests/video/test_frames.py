"""Each clip gives its own frames at their own times, by the decoder that is right for it."""

import os
import shutil
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video.guard import VideoReader, read_frames
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip, corners, looks_right, number, seconds

DECORD = {
    "h264_cfr.mp4": "closed-GOP h264 in mp4",
    "h264_portrait.mp4": "closed-GOP h264 in mp4",
    "vfr_gap.mp4": "closed-GOP h264 in mp4",
    "rot90.mp4": "closed-GOP h264 in mp4",
    "decord_rot90.mov": "closed-GOP h264 in mp4",
    "tc_h264_10bit.mp4": "closed-GOP h264 in mp4",
    "one_frame.mp4": "closed-GOP h264 in mp4",
    "two_frames.mp4": "closed-GOP h264 in mp4",
    "mpy_bbb_1s.webm": "closed-GOP vp8 in matroska",
    "vp9_odd_321x181.webm": "closed-GOP vp9 in matroska",
}
PYAV = {
    "h264_bf_opengop.mp4": "open GOP",
    "hevc_8bit.mp4": "open GOP",
    "tc_h265.mp4": "open GOP",
    "editlist_trim.mp4": "edit list",
    "tc_av1.mkv": "AV1",
    "anim.gif": "GIF",
    "h264.ts": "mpegts container",
}
DAMAGED = {
    "cut60_faststart.mp4": (150, "damaged packets"),
    "corrupt_mid_rand.mp4": (150, "decord failed: Thread worker: Error sending packet"),
    "decord_corrupted.mp4": (50, "decord failed: Thread worker: Error sending packet"),
}
SIZES = {  # height, width
    "h264_portrait.mp4": (320, 180),
    "rot90.mp4": (640, 360),
    "decord_rot90.mov": (568, 320),
    "vp9_odd_321x181.webm": (181, 321),
    "mpy_bbb_1s.webm": (720, 1280),
}
NO_VIDEO = {
    "audio_only.mp4": ("no_video", "has no video stream"),
    "text.mp4": ("not_a_video", "is not a video that can be read"),
    "cut60_moov_lost.mp4": ("not_a_video", "index of the mp4 file is missing"),
    "playlist_local.mp4": ("not_a_video", "is a playlist"),
    "zero_bytes.mp4": ("empty", "is empty"),
}


@pytest.fixture(scope="module")
def readers():
    """One reader for each decoder, each with one child for all tests here."""
    with VideoReader("auto") as auto, VideoReader("pyav") as pyav, VideoReader("decord") as decord:
        yield {"auto": auto, "pyav": pyav, "decord": decord}


def _check(name, frames, count):
    total = len(seconds(name))
    assert len(frames) == min(count, total)
    assert frames.info.frames_total == total
    assert list(frames.indices) == sorted(set(frames.indices))
    np.testing.assert_allclose(frames.seconds, seconds(name)[list(frames.indices)], atol=2e-3)
    assert frames.pixels.dtype == np.uint8
    assert frames.pixels.flags.writeable
    wrong = [
        place
        for place, (picture, second) in enumerate(zip(frames.pixels, frames.seconds, strict=True))
        if not looks_right(name, picture, second)
    ]
    assert wrong == []


@pytest.mark.parametrize("count", [8, 32])
@pytest.mark.parametrize("name", [*DECORD, *PYAV])
def test_frames_times_and_decoder_are_right(name, count, readers):
    frames = readers["auto"].submit(clip(name), Sampling(frames=count)).result()
    _check(name, frames, count)
    reason = {**DECORD, **PYAV}[name]
    assert (frames.info.decoder, frames.info.decoder_reason) == ("decord" if name in DECORD else "pyav", reason)
    assert frames.info.warnings == ()
    assert frames.info.path == str(clip(name))
    assert frames.pixels.shape[1:3] == (frames.info.height, frames.info.width)
    assert name not in SIZES or frames.pixels.shape[1:3] == SIZES[name]


@pytest.mark.parametrize("name", [*DECORD, *PYAV])
def test_pyav_alone_gives_every_frame(name, readers):
    frames = readers["pyav"].submit(clip(name), Sampling()).result()
    _check(name, frames, 1000)
    assert (frames.info.decoder, frames.info.decoder_reason) == ("pyav", "asked for")


@pytest.mark.parametrize("name", ["h264_cfr.mp4", "vfr_gap.mp4", "mpy_bbb_1s.webm", "rot90.mp4", "decord_rot90.mov"])
def test_both_decoders_give_the_same_pixels(name, readers):
    pending = {decoder: readers[decoder].submit(clip(name), Sampling(frames=6)) for decoder in ("decord", "pyav")}
    decord, pyav = pending["decord"].result(), pending["pyav"].result()
    assert decord.info.decoder == "decord"
    assert np.array_equal(decord.pixels, pyav.pixels)
    assert decord.seconds == pyav.seconds


@pytest.mark.parametrize("count", [16, 1000])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_give_what_is_left_and_a_warning(name, count, readers):
    frames = readers["auto"].submit(clip(name), Sampling(frames=count)).result()
    _check(name, frames, count)
    promised, reason = DAMAGED[name]
    assert frames.info.decoder_reason == reason
    assert frames.info.warnings[0] == f"only {len(seconds(name))} of {promised} frames can be read"


@pytest.mark.parametrize("decoder", ["auto", "pyav", "decord"])
@pytest.mark.parametrize("name", NO_VIDEO)
def test_what_is_no_video_is_told_in_one_line(name, decoder, readers):
    with pytest.raises(VideoError) as caught:
        readers[decoder].submit(clip(name), Sampling(frames=8)).result()
    reason, said = NO_VIDEO[name]
    assert (caught.value.reason, caught.value.exit_code) == (reason, 3)
    assert said in caught.value.message
    assert repr(str(clip(name))) in caught.value.message
    assert "\n" not in caught.value.message
    assert "this is not a video" not in caught.value.message  # the content of text.mp4
    assert caught.value.remedy


@pytest.mark.parametrize("name", PYAV)
def test_decord_is_refused_where_it_would_be_wrong(name, readers):
    with pytest.raises(UsageError, match="decord would not give the right frames") as caught:
        readers["decord"].submit(clip(name), Sampling(frames=8)).result()
    assert PYAV[name] in caught.value.message
    assert "auto" in caught.value.remedy


@pytest.mark.parametrize(("start", "end"), [(1.0, 2.0), (4.5, None), (None, 0.5), (3.21, 3.22)])
@pytest.mark.parametrize(
    ("name", "decoder"), [("h264_cfr.mp4", "decord"), ("h264_cfr.mp4", "pyav"), ("hevc_8bit.mp4", "auto")]
)
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
    """Writes an mp4 with one stream for each (width, height), grey levels rising by 8 a frame."""
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


def test_the_facts_go_into_json(readers):
    info = readers["auto"].submit(clip("vfr_gap.mp4"), Sampling(frames=2)).result().info
    facts = info.as_json()
    assert facts["frames_total"] == 120
    assert facts["duration_s"] == pytest.approx(24.0, abs=0.05)
    assert facts["fps"] == pytest.approx(5.0, abs=0.05)


def test_the_front_door_reads_and_tells_progress():
    told = []
    frames = read_frames(
        clip("h264_cfr.mp4"), Sampling(frames=5), on_progress=lambda done, total: told.append((done, total))
    )
    assert [number(picture) for picture in frames.pixels] == list(frames.indices) == [0, 37, 74, 111, 149]
    assert told
    assert told == sorted(told)
    assert told[-1] == (5, 5)


def test_an_unknown_decoder_is_refused():
    with pytest.raises(UsageError, match="'vlc' is not a decoder"):
        read_frames(clip("h264_cfr.mp4"), Sampling(frames=5), decoder="vlc")
