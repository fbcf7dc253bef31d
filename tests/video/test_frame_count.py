"""Timestamps of decoded frames, and files whose frames have to be counted by decoding them once."""

import re
from itertools import pairwise

import av
import numpy as np
import pytest

from dycoke_cli.video.reader import read_frames
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.timestamps import Timestamps
from tests.video.clips import clip, number
from tests.video.made import drawn, numbered, psnr, write


def test_times_in_order_are_kept_from_the_first_on():
    clock = Timestamps.of_frames([5.0, 5.1, 5.2, 7.0], 1.0, "avi", monotonic_dts=False)
    assert clock.places.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(clock.seconds, [0, 0.1, 0.2, 2.0])
    assert clock.step_s == pytest.approx(0.1)


@pytest.mark.parametrize("container", ["avi", "mpegts"])
def test_one_frame_decoded_at_the_wrong_moment_goes_to_its_time(container):
    clock = Timestamps.of_frames([0.0, 0.3, 0.1, 0.2, 0.4], 1.0, container, monotonic_dts=True)
    assert clock.places.tolist() == [0, 2, 3, 1, 4]
    np.testing.assert_allclose(clock.seconds, [0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("container", ["avi", "mpegts"])
def test_a_clock_that_starts_anew_goes_on_from_the_last_time(container):
    clock = Timestamps.of_frames([0.0, 0.1, 0.2, 0.0, 0.1], 1.0, container, monotonic_dts=False)
    assert clock.places.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(clock.seconds, [0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("monotonic_dts", [False, True])
@pytest.mark.parametrize(
    "times", [[0.0, None, 0.2], [0.0, 0.2, 0.1, 0.4, 0.3], [0.0, 0.2, 0.3, 0.1, 0.5, 0.6, 0.4], [0.0], [9.0, 9.0, 9.0]]
)
def test_times_that_mean_nothing_give_way_to_the_rate(times, monotonic_dts):
    clock = Timestamps.of_frames(times, 0.25, "avi", monotonic_dts)
    assert clock.places.tolist() == list(range(len(times)))
    np.testing.assert_allclose(clock.seconds, 0.25 * np.arange(len(times)))
    assert clock.step_s == 0.25


@pytest.mark.parametrize("times", [[None, None, None], [9.0, 9.0, 9.0], [0.0]])
def test_without_two_moments_the_rate_is_all_there_is(times):
    clock = Timestamps.of_frames(times, 0.25, "mpegts", monotonic_dts=True)
    np.testing.assert_allclose(clock.seconds, 0.25 * np.arange(len(times)))


# Times of decoded frames around a gap of 2.5 s: the decoder holds frames back to reorder them and finds no key frame.
GAP = [
    *(place / 25 for place in range(49)),
    4.48,
    2.0,
    None,
    4.56,
    4.60,
    2.08,
    *(4.64 + place / 25 for place in range(9)),
]


@pytest.mark.parametrize("monotonic_dts", [False, True])
def test_frames_out_of_order_around_a_hole_are_shown_at_their_times(monotonic_dts):
    clock = Timestamps.of_frames(GAP, 0.04, "mpegts", monotonic_dts)
    shown = sorted([time for time in GAP if time is not None] + [2.04])
    np.testing.assert_allclose(clock.seconds, shown, atol=1e-9)
    assert clock.gaps("mpegts", damaged=True) == ("no frames from 2.12 s to 4.48 s",)


def test_a_hole_and_a_new_clock_are_told_apart():
    clock = Timestamps.of_frames(GAP + [place / 25 for place in range(50)], 0.04, "mpegts", monotonic_dts=False)
    np.testing.assert_allclose(clock.seconds[-50:], 5.0 + np.arange(50) / 25, atol=1e-9)


@pytest.mark.parametrize(
    ("container", "jump_s", "kept"),
    [("mpegts", 9, True), ("mpeg", 11, False), ("mpegts", 11, False), ("mp4", 11, True)],
)
def test_a_clock_set_ahead_by_more_than_ten_seconds_goes_on(container, jump_s, kept):
    seconds = np.concatenate([np.arange(10) / 10, jump_s + np.arange(10) / 10])
    for clock in (
        Timestamps.of_index(seconds, container),
        Timestamps.of_frames(seconds.tolist(), 0.1, container, monotonic_dts=True),
    ):
        np.testing.assert_allclose(clock.seconds, seconds if kept else np.arange(20) / 10, atol=1e-9)
        assert clock.skipped_s == pytest.approx(0 if kept else jump_s - 1)
        assert [note[:25] for note in clock.notes] == [] if kept else ["its clock jumps ahead by "]


def _with_gap(content, unit, how):
    """Remove the packets between 32 % and 67 % of a file, or replace them with zeros."""
    begin, end = (int(len(content) / unit * share) * unit for share in (0.32, 0.667))
    return content[:begin] + (bytes(end - begin) if how == "zeros" else b"") + content[end:]


@pytest.mark.parametrize(
    ("name", "how"), [("x.ts", "cut"), ("x.ts", "zeros"), ("x.m2ts", "cut"), ("x.m2ts", "zeros"), ("x.mpg", "cut")]
)
def test_a_hole_in_a_transport_stream_stays_time(name, how, tmp_path):
    mpeg = {"codec": "mpeg2video"} if name == "x.mpg" else {}
    write(tmp_path / name, count=150, size=(160, 120), rate=25, picture=numbered, **mpeg)
    unit = {"x.ts": 188, "x.m2ts": 192, "x.mpg": 1}[name]
    (tmp_path / name).write_bytes(_with_gap((tmp_path / name).read_bytes(), unit, how))
    frames = read_frames(tmp_path / name, Sampling(frames=150))
    assert 60 < len(frames) < 120
    assert frames.info.duration_s == pytest.approx(6, abs=0.08)
    numbers = [number(picture) for picture in frames.pixels]
    # Frames after the gap refer to missing frames: their times are right at once, their pixels only after a while.
    intact = [*range(30), -1]
    np.testing.assert_allclose(
        [frames.seconds[place] for place in intact], [numbers[place] / 25 for place in intact], atol=0.021
    )
    assert frames.info.damaged
    assert any(line.startswith(("no frames from 1.", "no frames from 2.")) for line in frames.info.warnings)


@pytest.mark.parametrize("jump_s", [5, 30])
def test_a_transport_stream_whose_clock_is_set_ahead_goes_on(jump_s, tmp_path):
    times = [place + (25 * jump_s if place >= 25 else 0) for place in range(50)]
    write(tmp_path / "ahead.ts", count=50, rate=25, times=times, picture=numbered)
    frames = read_frames(tmp_path / "ahead.ts", Sampling(frames=50))
    shown = [place / 25 + (jump_s if place >= 25 and jump_s == 5 else 0) for place in range(50)]
    np.testing.assert_allclose(frames.seconds, shown, atol=2e-3)
    assert [number(picture) for picture in frames.pixels] == list(range(50))
    warning = {5: "no frames from 1.00 s to 6.00 s", 30: "its clock jumps ahead by 30.0 s at 0.96 s"}[jump_s]
    assert [line[: len(warning)] for line in frames.info.warnings] == [warning]
    assert frames.info.damaged == (jump_s == 5)


def test_two_joined_streams_are_one_video(tmp_path):
    (tmp_path / "joined.ts").write_bytes(2 * clip("h264.ts").read_bytes())
    frames = read_frames(tmp_path / "joined.ts", Sampling(frames=30))
    assert frames.info.frames_total == 300
    assert [number(picture) for picture in frames.pixels] == [index % 150 for index in frames.indices]
    np.testing.assert_allclose(frames.seconds, 0.04 * np.array(frames.indices), atol=2e-3)
    assert frames.info.decoder == "pyav"


@pytest.mark.parametrize("count", [3, 6, 24])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_with_b_frames_has_made_up_times_and_right_frames(codec, count, tmp_path):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = tmp_path / "b.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.options = {"bf": "2"}
        for place in range(24):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * place, np.uint8))))
        container.mux(stream.encode(None))
    frames = read_frames(path, Sampling(frames=count))
    assert frames.indices == tuple(np.linspace(0, 23, count, dtype=int).tolist())
    np.testing.assert_allclose(frames.seconds, np.array(frames.indices) / 10, atol=1e-6)
    assert np.abs(frames.pixels.mean(axis=(1, 2, 3)) - 10 * np.array(frames.indices)).max() < 8
    assert frames.info.warnings == ()


CUT = {
    "film.mp4": {"options": {"movflags": "faststart"}},
    "film.mkv": {},
    "film.webm": {"codec": "libvpx"},
    "film.avi": {"codec": "mpeg4"},
    "film.flv": {},
    "film.wmv": {"codec": "wmv2"},
    "film.h264": {},
    "film.gif": {"codec": "gif", "pixels": "rgb8"},
    "film.apng": {"codec": "apng", "pixels": "rgba"},
}


def inside_a_picture(stream: bytes, place: int) -> int:
    """Return the middle of the first picture of over 100 bytes after `place` in an H.264 stream without container.

    Such a stream has no header with a duration: cut between two pictures it is valid, and the first and last few bytes
    of a picture can be missing without an error. Where a cut falls depends on the encoder's version and threads.
    """
    starts = [found.start() for found in re.finditer(b"\0\0\1", stream)]
    return next((start + end) // 2 for start, end in pairwise(starts) if start > place and end - start > 100)


@pytest.mark.parametrize("share", [0.5, 0.85])
@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_gives_its_frames_and_says_that_more_were_there(name, share, tmp_path):
    how = dict(CUT[name])
    options = how.pop("options", None)
    write(tmp_path / name, count=60, file_options=options, **how)
    whole = (tmp_path / name).read_bytes()
    cut = int(share * len(whole))
    (tmp_path / name).write_bytes(whole[: inside_a_picture(whole, cut) if name == "film.h264" else cut])
    frames = read_frames(tmp_path / name, Sampling(frames=60))
    assert 60 * share * 0.4 < len(frames) < 60
    assert frames.info.damaged
    assert frames.info.warnings
    for picture, place in list(zip(frames.pixels, frames.indices, strict=True))[:-2]:
        assert psnr(picture, drawn(place, 160, 120)) > 20


def test_a_cut_matroska_file_warns_that_its_header_promises_more(tmp_path):
    whole = clip("tc_av1.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    frames = read_frames(tmp_path / "cut.mkv", Sampling(frames=8))
    assert 0 < frames.seconds[-1] < frames.info.duration_s < 4
    assert any("that its header states" in line or "can be read" in line for line in frames.info.warnings)
