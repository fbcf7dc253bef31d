"""Frames equal ffmpeg's at the same times, across colour spaces, pixel shapes, timestamps and streams."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.made import drawn, ffmpeg_frames, psnr, write

X265 = {"x265-params": "log-level=0"}
LOGLESS = {"x265-params": "log-level=0:colorprim=bt2020:colormatrix=bt2020nc:transfer="}
INTERLACED = {"x264-params": "interlaced=1:tff=1"}
# File name -> arguments of `write`.
CLIPS = {
    "bt601.mp4": {"matrix": 5, "full": 1},
    "bt601_full.mp4": {"matrix": 5, "full": 2},
    "bt709.mp4": {"matrix": 1, "full": 1},
    "bt709_full.mkv": {"matrix": 1, "full": 2},
    "untagged.mov": {},
    "10_bit.mp4": {"pixels": "yuv420p10le"},
    "444.mp4": {"pixels": "yuv444p"},
    "bt2020.mp4": {"codec": "libx265", "pixels": "yuv420p10le", "matrix": 9, "full": 1, "transfer": 14,
                   "options": {"x265-params": LOGLESS["x265-params"] + "bt2020-10"}},
    "interlaced.mkv": {"options": INTERLACED},
    "interlaced.mpg": {"codec": "mpeg2video", "rate": 25, "options": {"flags": "+ilme+ildct"}},
    "alpha.mov": {"codec": "qtrle", "pixels": "argb"},
    "alpha.webm": {"codec": "libvpx-vp9", "pixels": "yuva420p"},
    "odd.mp4": {"size": (161, 121), "pixels": "yuv444p"},
    "tiny.mp4": {"size": (16, 16)},
    "grey.mkv": {"codec": "ffv1", "pixels": "gray"},
    "raw.avi": {"codec": "rawvideo", "pixels": "bgr24"},
    "b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "open_gop.mp4": {"count": 48, "options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}},
    "late.mp4": {"start": 60},
    "late.mkv": {"start": 60},
    "late.ts": {"start": 60, "rate": 25},
    "trimmed.mp4": {"start": -5},
    "uneven.mp4": {"times": [0, 1, 2, 3, 30, 31, 32, 33, 90, 91, 92, 93]},
    "flash.flv": {},
    "bare.h264": {},
    "windows.wmv": {"codec": "wmv2"},
    "moving.apng": {"codec": "apng", "pixels": "rgba"},
    "moving.gif": {"codec": "gif", "pixels": "rgb8"},
}  # fmt: skip


@pytest.fixture(scope="module")
def reader():
    with VideoReader("auto") as reader:
        yield reader


def equal(frames, shown, step_s):
    """Check that frames match ffmpeg's: PSNR of at least 35 dB, and times within `step_s`."""
    for picture, second, place in zip(frames.pixels, frames.seconds, frames.indices, strict=True):
        assert psnr(picture, shown[place][0]) >= 35
        assert abs(second - shown[place][1]) < step_s


@pytest.mark.parametrize("name", CLIPS)
def test_frames_equal_ffmpegs(name, reader, tmp_path):
    how = CLIPS[name]
    codec = how.get("codec", "libx264")
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    write(tmp_path / name, **how)
    shown = ffmpeg_frames(tmp_path / name)
    frames = reader.submit(tmp_path / name, Sampling()).result()
    assert len(frames) == len(shown) == how.get("count", 12) + min(0, how.get("start", 0))
    assert (frames.info.damaged, frames.info.warnings) == (False, ())
    equal(frames, shown, 0.5 / how.get("rate", 12))


@pytest.mark.parametrize("name", ["bt601.mp4", "bt601_full.mp4", "bt709.mp4", "bt709_full.mkv", "untagged.mov"])
def test_colours_are_those_that_were_drawn(name, reader, tmp_path):
    write(tmp_path / name, count=4, options={"qp": "4"}, **CLIPS[name])
    frames = reader.submit(tmp_path / name, Sampling()).result()
    assert min(psnr(picture, drawn(place, 160, 120)) for place, picture in enumerate(frames.pixels)) > 30


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(8, 9), Fraction(64, 45)])
@pytest.mark.parametrize("name", ["wide.mp4", "wide.mkv", "wide.mpg"])
def test_pixels_are_made_square(name, aspect, reader, tmp_path):
    mpeg = {"codec": "mpeg2video", "rate": 25} if name.endswith("mpg") else {}
    write(tmp_path / name, aspect=aspect, **mpeg)
    frames = reader.submit(tmp_path / name, Sampling(frames=4)).result()
    with av.open(str(tmp_path / name)) as container:  # MPEG-2 stores the aspect of the frame, and only a few values
        width = round(160 * (container.streams.video[0].sample_aspect_ratio or 1))
    assert frames.pixels.shape == (4, 120, width, 3)
    assert (frames.info.width, frames.info.height) == (width, 120)
    equal(frames, ffmpeg_frames(tmp_path / name, (width, 120)), 0.04)


TURNS = {  # first two rows of a display matrix -> colours of the corners as displayed
    (1, 0, 0, 1): "rgbw", (0, 1, -1, 0): "brwg", (-1, 0, 0, -1): "wbgr", (0, -1, 1, 0): "gwrb",
    (-1, 0, 0, 1): "grwb", (1, 0, 0, -1): "bwrg", (0, 1, 1, 0): "rbgw", (0, -1, -1, 0): "wgbr",
}  # fmt: skip


@pytest.mark.parametrize("turn", TURNS)
def test_pictures_are_turned_and_mirrored_as_the_file_asks(turn, reader, tmp_path):
    write(tmp_path / "plain.mp4", count=2)
    content = bytearray((tmp_path / "plain.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 36
    a, b, c, d = (65536 * sign for sign in turn)
    content[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(content)
    frames = reader.submit(tmp_path / "turned.mp4", Sampling()).result()
    height, width = (160, 120) if turn[0] == 0 else (120, 160)
    assert frames.pixels.shape == (2, height, width, 3)
    seen = "".join(
        "w" if colour.min() > 150 else "rgb"[colour.argmax()]
        for colour in frames.pixels[0][[5, 5, -6, -6], [5, -6, 5, -6]].astype(int)
    )
    assert seen == TURNS[turn]


@pytest.mark.parametrize("suffix", ["h264", "ts"])
def test_a_change_of_size_inside_the_stream_keeps_the_first_size(suffix, reader, tmp_path):
    rate = {"rate": 25} if suffix == "ts" else {}
    write(tmp_path / f"a.{suffix}", size=(160, 120), **rate)
    write(tmp_path / f"b.{suffix}", size=(320, 176), **rate)
    both = tmp_path / f"both.{suffix}"
    both.write_bytes((tmp_path / f"a.{suffix}").read_bytes() + (tmp_path / f"b.{suffix}").read_bytes())
    frames = reader.submit(both, Sampling()).result()
    assert frames.pixels.shape == (24, 120, 160, 3)
    shown = ffmpeg_frames(both, (160, 120))
    assert min(psnr(picture, seen) for picture, (seen, _) in zip(frames.pixels, shown, strict=True)) >= 35


def several(path, streams):
    """Write a file of several streams, [(size, first place, disposition)]; a cover image is one frame, others 12."""
    with av.open(str(path), "w") as container:
        made = []
        for (width, height), _, disposition in streams:
            cover = disposition == Disposition.attached_pic
            stream = container.add_stream("png" if cover else "libx264", rate=12)
            stream.width, stream.height, stream.pix_fmt = width, height, "rgb24" if cover else "yuv420p"
            stream.disposition = disposition
            made.append(stream)
        for stream, ((width, height), first, disposition) in zip(made, streams, strict=True):
            for place in range(1 if disposition == Disposition.attached_pic else 12):
                frame = av.VideoFrame.from_ndarray(drawn(first + place, width, height)).reformat(format=stream.pix_fmt)
                frame.pts = place
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


@pytest.mark.parametrize("name", ["two.mkv", "two.mp4"])
@pytest.mark.parametrize("default", [0, 1])
def test_the_default_of_several_streams_is_shown(name, default, reader, tmp_path):
    sizes = [(320, 240), (160, 120)]
    marks = [Disposition.default if place == default else Disposition(0) for place in range(2)]
    several(tmp_path / name, [(size, 50 * place, marks[place]) for place, size in enumerate(sizes)])
    frames = reader.submit(tmp_path / name, Sampling()).result()
    width, height = sizes[default]
    assert frames.pixels.shape == (12, height, width, 3)
    assert (
        min(psnr(picture, drawn(50 * default + place, width, height)) for place, picture in enumerate(frames.pixels))
        > 25
    )


def test_a_cover_picture_is_no_video(reader, tmp_path):
    several(tmp_path / "film.mp4", [((160, 120), 0, Disposition.default), ((640, 480), 99, Disposition.attached_pic)])
    frames = reader.submit(tmp_path / "film.mp4", Sampling()).result()
    assert frames.pixels.shape == (12, 120, 160, 3)


@pytest.mark.parametrize("name", ["large.avi", "large.mov", "large.mp4"])
def test_large_frames_are_decoded_small(name, tmp_path):
    codec = {} if name == "large.mp4" else {"codec": "mjpeg", "pixels": "yuvj420p"}
    write(tmp_path / name, size=(640, 480), count=6, **codec)
    with VideoReader("pyav", max_pixels=160 * 120) as small:
        frames = small.submit(tmp_path / name, Sampling()).result()
    assert frames.pixels.shape == (6, 120, 160, 3)
    assert (frames.info.width, frames.info.height) == (640, 480)
    equal(frames, ffmpeg_frames(tmp_path / name, (160, 120)), 0.04)


def test_a_step_that_varies_is_evened_out_in_time_or_in_count(reader, tmp_path):
    write(tmp_path / "uneven.mp4", times=CLIPS["uneven.mp4"]["times"])
    in_time = reader.submit(tmp_path / "uneven.mp4", Sampling(frames=4)).result()
    in_count = reader.submit(tmp_path / "uneven.mp4", Sampling(frames=4, sample="index")).result()
    assert in_count.indices == tuple(np.linspace(0, 11, 4, dtype=int).tolist())
    np.testing.assert_allclose(in_time.seconds, [0, 31 / 12, 33 / 12, 93 / 12], atol=0.01)
