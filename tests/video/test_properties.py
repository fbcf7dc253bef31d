"""For any window, count and rate, the frames equal those of a full decode at the same times (hypothesis)."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dycoke_cli.errors import VideoError
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip
from tests.video.made import ffmpeg_frames, psnr, write

MADE = {
    "closed.mp4": {"count": 60},
    "open.mkv": {"count": 60, "options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}},
    "trimmed.mp4": {"count": 60, "start": -15},
    "uneven.mp4": {"count": 30, "times": [*range(10), *range(40, 50), *range(90, 100)]},
    "late.ts": {"count": 60, "start": 100, "rate": 25},
    "b_frames.avi": {"count": 40, "codec": "mpeg4", "options": {"bf": "2"}},
}
FILES = [*MADE, "tc_h265.mp4", "anim.gif", "h264_portrait.mp4"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Path and all frames of each file, decoded with ffmpeg's defaults."""
    folder = tmp_path_factory.mktemp("made")
    found = {}
    for name in FILES:
        path = folder / name if name in MADE else clip(name)
        if name in MADE:
            write(path, size=(64, 48), **MADE[name])
        found[name] = path, ffmpeg_frames(path)
    return found


@pytest.fixture(scope="module")
def readers():
    with VideoReader("auto") as auto, VideoReader("pyav") as pyav:
        yield {"auto": auto, "pyav": pyav}


@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(FILES), places=st.lists(st.integers(0, 27), min_size=1, max_size=6), by_time=st.booleans())
def test_named_frames_are_those_of_a_full_decode(name, places, by_time, whole, readers):
    path, shown = whole[name]
    places = [place % len(shown) for place in places]
    moments = [shown[place][1] + 1e-3 for place in places]
    sampling = Sampling(moments_s=moments) if by_time else Sampling(places=places)
    frames = readers["auto"].submit(path, sampling).result()
    assert list(frames.indices) == sorted(set(places))
    assert (
        min(psnr(picture, shown[place][0]) for picture, place in zip(frames.pixels, frames.indices, strict=True)) >= 35
    )


choices = st.one_of(
    st.fixed_dictionaries({"frames": st.integers(1, 80)}),
    st.fixed_dictionaries({"fps": st.floats(0.05, 60)}, optional={"max_frames": st.integers(1, 20)}),
    st.fixed_dictionaries({}, optional={"max_frames": st.integers(1, 20)}),
)
windows = st.fixed_dictionaries({}, optional={"start_s": st.floats(0, 9), "end_s": st.floats(0, 9)})


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(FILES),
    decoder=st.sampled_from(["auto", "pyav"]),
    choice=choices,
    window=windows,
    sample=st.sampled_from(["time", "index"]),
)
def test_frames_are_those_of_a_full_decode(name, decoder, choice, window, sample, whole, readers):
    path, shown = whole[name]
    times = np.array([second for _, second in shown])
    start, end = window.get("start_s", 0.0), window.get("end_s", np.inf)
    sampling = Sampling(**choice, **window, sample=sample)
    pending = readers[decoder].submit(path, sampling)
    if (error := pending.future.exception()) is not None:
        assert isinstance(error, VideoError)
        assert error.reason == "window"
        assert start >= end or start > times[-1]
        return
    frames = pending.result()
    inside = np.flatnonzero((times >= start - 2e-3) & (times < end + 2e-3))
    at_most = min(value for key, value in {**choice, "all": max(1, len(inside))}.items() if key != "fps")
    assert 1 <= len(frames) <= at_most
    if "fps" not in choice and (len(inside) > 1 or not window):
        assert len(frames) >= min(at_most, len(inside) - 2)  # frames at the edges of a window may be in or out
    assert list(frames.indices) == sorted(set(frames.indices))
    assert frames.info.frames_total == len(shown)
    for picture, second, place in zip(frames.pixels, frames.seconds, frames.indices, strict=True):
        assert abs(second - times[place]) < 2e-3
        assert psnr(picture, shown[place][0]) >= 35
        # A window between two frames contains the one before it.
        assert start - 2e-3 <= second < end + 2e-3 or len(frames) == 1
