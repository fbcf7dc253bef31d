"""Files whose packets do not tell which frames are shown are decoded once to count them."""

import av
import numpy as np
import pytest

from dycoke_cli.video.census import _in_order
from dycoke_cli.video.guard import read_frames
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip, number
from tests.video.made import drawn, psnr, write


def test_times_in_order_are_kept_from_the_first_on():
    places, seconds, step = _in_order([5.0, 5.1, 5.2, 7.0], 1.0, unique=False)
    assert places.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(seconds, [0, 0.1, 0.2, 2.0])
    assert step == pytest.approx(0.1)


def test_one_frame_decoded_at_the_wrong_moment_goes_to_its_time():
    places, seconds, _ = _in_order([0.0, 0.3, 0.1, 0.2, 0.4], 1.0, unique=True)
    assert places.tolist() == [0, 2, 3, 1, 4]
    np.testing.assert_allclose(seconds, [0, 0.1, 0.2, 0.3, 0.4])


def test_a_clock_that_starts_anew_goes_on_from_the_last_time():
    places, seconds, _ = _in_order([0.0, 0.1, 0.2, 0.0, 0.1], 1.0, unique=False)
    assert places.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(seconds, [0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize(
    "times", [[0.0, None, 0.2], [0.0, 0.2, 0.1, 0.4, 0.3], [0.0, 0.2, 0.3, 0.1, 0.5, 0.6, 0.4], [0.0], [9.0, 9.0, 9.0]]
)
def test_times_that_mean_nothing_give_way_to_the_rate(times, unique):
    places, seconds, step = _in_order(times, 0.25, unique=unique)
    assert places.tolist() == list(range(len(times)))
    np.testing.assert_allclose(seconds, 0.25 * np.arange(len(times)))
    assert step == 0.25


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


@pytest.mark.parametrize("share", [0.5, 0.85])
@pytest.mark.parametrize("name", CUT)
def test_a_cut_file_gives_its_frames_and_says_that_more_were_there(name, share, tmp_path):
    how = dict(CUT[name])
    options = how.pop("options", None)
    write(tmp_path / name, count=60, file_options=options, **how)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
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
    assert any("promise" in line or "can be read" in line for line in frames.info.warnings)
