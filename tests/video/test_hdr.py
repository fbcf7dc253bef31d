"""HDR conversion to SDR matches the formulas of ITU-R BT.2100, which are written out here."""

import av
import numpy as np
import pytest

from dycoke_cli.errors import UsageError
from dycoke_cli.video.hdr import Hdr
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.made import write

SIZE = 64, 48
# Light of red, green and blue in BT.709, in cd/m2 on a display of 1000 cd/m2.
LIGHTS = {
    "black": (0, 0, 0),
    "dark": (0.5, 0.5, 0.5),
    "grey card": (26, 26, 26),
    "skin": (70, 45, 32),
    "leaf": (12, 30, 6),
    "sky": (40, 70, 90),
    "brick": (60, 20, 12),
    "yellow": (88, 80, 9),
}
BRIGHT = {"paper": (203, 203, 203), "lamp": (500, 500, 500), "sun": (1000, 1000, 1000)}


def bt709_to_bt2020(light):
    """Convert linear light by the matrix of ITU-R BT.2087."""
    matrix = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    return matrix @ np.asarray(light, dtype=np.float64)


def pq(light):
    """Inverse EOTF of PQ: cd/m2 -> signal."""
    power = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light):
    """Inverse EOTF of HLG on a display of 1000 cd/m2: inverse OOTF with gamma 1.2, then OETF; cd/m2 -> signal."""
    luminance = float(np.dot([0.2627, 0.6780, 0.0593], light)) / 1000
    scene = light / 1000 * (luminance ** ((1 - 1.2) / 1.2) if luminance else 0)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


CODES = {"pq": (16, "smpte2084", pq), "hlg": (18, "arib-std-b67", hlg)}


def film(path, transfer, lights, pixels="yuv420p10le", full=1, codec="libx265"):
    """Write one frame for each light, in BT.2020, with the YCbCr values computed here instead of by a library."""
    number, name, code = CODES[transfer]
    bits = 10 if "10" in pixels else 8
    tags = f"colorprim=bt2020:transfer={name}:colormatrix=bt2020nc:range={'full' if full == 2 else 'limited'}"
    options = {"x265-params": f"log-level=none:qp=1:{tags}"} if codec == "libx265" else {}
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pixels
        stream.codec_context.options = options
        stream.codec_context.color_trc, stream.codec_context.color_primaries = number, 9
        stream.codec_context.colorspace, stream.codec_context.color_range = 9, full
        for place, light in enumerate(lights):
            red, green, blue = code(bt709_to_bt2020(light))
            luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
            chroma = (blue - luma) / 1.8814, (red - luma) / 1.4746
            if full == 2:
                planes = [luma * (2**bits - 1), *(part * (2**bits - 1) + 2 ** (bits - 1) for part in chroma)]
            else:
                unit = 2 ** (bits - 8)
                planes = [(219 * luma + 16) * unit, *((224 * part + 128) * unit for part in chroma)]
            frame = av.VideoFrame(*SIZE, pixels)
            for plane, value in zip(frame.planes, planes, strict=True):
                kind = np.uint16 if bits == 10 else np.uint8
                plane.update(np.full(plane.buffer_size // kind().itemsize, round(float(value)), kind))
            frame.pts = place
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def rolled_off(light):
    """EETF of ITU-R BT.2390 for one luminance in cd/m2, from a peak of 1000 to one of 203."""
    end = pq(203.0) / pq(1000.0)
    begin, signal = 1.5 * end - 0.5, min(1.0, pq(light) / pq(1000.0))
    if signal > begin:
        t = (signal - begin) / (1 - begin)
        signal = begin * (1 + 2 * t) * (1 - t) ** 2 + (1 - begin) * t * (1 - t) ** 2 + end * t**2 * (3 - 2 * t)
    power = (signal * pq(1000.0)) ** (1 / 78.84375)
    return 10000 * (max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)


def sdr(light):
    """Return the signal, of 255, with which a display of gamma 2.4 reproduces this light."""
    top = max(light)
    scale = rolled_off(top) / top if top else 0
    return 255 * (np.array(light) * scale / 203) ** (1 / 2.4)


@pytest.fixture(scope="module")
def reader():
    with VideoReader("auto") as reader:
        yield reader


@pytest.mark.parametrize(
    ("transfer", "how"),
    [
        ("pq", {}),
        ("hlg", {}),
        ("pq", {"full": 2}),
        ("hlg", {"full": 2}),
        ("hlg", {"pixels": "yuv420p"}),
        ("hlg", {"pixels": "yuv422p10le"}),
    ],
)
def test_hdr_shows_the_light_of_the_scene(transfer, how, reader, tmp_path):
    lights = {**LIGHTS, **BRIGHT}
    film(tmp_path / "hdr.mp4", transfer, lights.values(), **how)
    frames = reader.submit(tmp_path / "hdr.mp4", Sampling()).result()
    assert frames.info.hdr == transfer
    assert frames.info.as_json()["hdr"] == transfer
    assert (frames.info.decoder, frames.info.decoder_reason) == ("pyav", "HDR")
    tolerance = 4 if "10" in how.get("pixels", "10") else 14  # levels; 8 bits quantise HDR coarsely
    for (name, light), picture in zip(lights.items(), frames.pixels, strict=True):
        assert np.ptp(picture.reshape(-1, 3), axis=0).max() <= 2
        np.testing.assert_allclose(picture.mean(axis=(0, 1)), sdr(light), atol=tolerance, err_msg=name)


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_the_curve_is_what_it_says(transfer):
    """A grey card maps to 42 %, paper to near white, highlights rise to white at most, and hues are preserved."""
    shades = {
        light: Hdr(transfer, 9).to_sdr(np.asarray(CODES[transfer][2](np.full(3, light)))) for light in (26.0, 203.0)
    }
    np.testing.assert_allclose(shades[26.0], 0.425, atol=0.003)
    np.testing.assert_allclose(shades[203.0], 0.905, atol=0.01)
    ramp = Hdr(transfer, 9).to_sdr(np.repeat(np.linspace(0, 1, 200)[:, None], 3, axis=1))
    np.testing.assert_allclose(ramp, ramp[:, :1].repeat(3, axis=1), atol=1e-9)
    assert (ramp[0, 0], ramp[-1, 0]) == (pytest.approx(0, abs=1e-3), pytest.approx(1))
    assert np.all(np.diff(ramp[:, 0]) >= -1e-9)
    bright = [
        Hdr(transfer, 9).to_sdr(CODES[transfer][2](bt709_to_bt2020(k * np.array([4.0, 2.0, 1.0])))) for k in (5, 200)
    ]
    np.testing.assert_allclose(bright[1] / bright[1].max(), bright[0] / bright[0].max(), atol=0.01)


@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_colours_on_the_edge_of_the_gamut_keep_their_hue(transfer, reader, tmp_path):
    """Near black, one 10-bit step is twenty levels, so absent primaries get a wide tolerance; the others are exact."""
    lights = 100 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
    film(tmp_path / "pure.mp4", transfer, lights.tolist())
    frames = reader.submit(tmp_path / "pure.mp4", Sampling()).result()
    for light, picture in zip(lights, frames.pixels, strict=True):
        shown = picture.mean(axis=(0, 1))
        np.testing.assert_allclose(shown[light > 0], sdr(light)[light > 0], atol=4)
        assert shown[light == 0].max() < 32


@pytest.mark.smoke
def test_primaries_that_the_file_names_are_used():
    red = np.array([0.5, 0.0, 0.0])
    wide, narrow = Hdr("pq", 9).to_sdr(red), Hdr("pq", 1).to_sdr(red)
    assert wide[0] > narrow[0] > 0
    np.testing.assert_allclose(narrow[1:], 0, atol=1e-6)


def test_hdr_that_only_the_container_tells_of_is_hdr(reader, tmp_path):
    film(tmp_path / "told.mkv", "hlg", [LIGHTS["grey card"]] * 3, codec="ffv1")
    frames = reader.submit(tmp_path / "told.mkv", Sampling()).result()
    assert frames.info.hdr == "hlg"
    np.testing.assert_allclose(frames.pixels.mean(axis=(0, 1, 2)), sdr(LIGHTS["grey card"]), atol=4)


def test_hdr_is_scaled_and_read_by_counting_too(tmp_path):
    film(tmp_path / "hdr.ts", "hlg", [LIGHTS["skin"]] * 12)
    whole = (tmp_path / "hdr.ts").read_bytes()
    (tmp_path / "cut.ts").write_bytes(whole[: len(whole) * 2 // 3 // 188 * 188 - 60])
    with VideoReader("auto", max_pixels=32 * 24) as small:
        frames = small.submit(tmp_path / "cut.ts", Sampling()).result()
    assert frames.pixels.shape[1:] == (24, 32, 3)
    assert frames.info.hdr == "hlg"
    np.testing.assert_allclose(frames.pixels[0].mean(axis=(0, 1)), sdr(LIGHTS["skin"]), atol=4)


def test_decord_is_refused_for_hdr(tmp_path):
    film(tmp_path / "hdr.mp4", "hlg", [LIGHTS["skin"]] * 3)
    with VideoReader("decord") as reader, pytest.raises(UsageError, match="HDR"):
        reader.submit(tmp_path / "hdr.mp4", Sampling()).result()


@pytest.mark.parametrize("transfer", [None, 1, 14])
def test_ordinary_video_is_not_hdr(transfer, reader, tmp_path):
    """BT.2020 with an SDR curve is not HDR either, and is converted as ffmpeg does."""
    write(tmp_path / "sdr.mp4", count=2, matrix=9, full=1, transfer=transfer)
    info = reader.submit(tmp_path / "sdr.mp4", Sampling()).result().info
    assert info.hdr is None
    assert info.as_json()["hdr"] is None
