"""Image folders, single images and animated WebP files are read as videos."""

import numpy as np
import pytest
from PIL import Image

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video.image_sequence import is_image, list_images
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.made import drawn, psnr, write


@pytest.fixture(scope="module")
def reader():
    with VideoReader() as reader:
        yield reader


def save(path, place=0, size=(64, 48), **options):
    Image.fromarray(drawn(place, *size)).save(path, **options)


def test_pictures_come_in_natural_order(tmp_path):
    wanted = ["1.png", "2.JPG", "10.png", "a2b1.png", "a2b10.png", "a10b1.png"]
    for name in (*wanted, ".9.png", "notes.txt", "film.mp4", "Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / "3.png").mkdir()
    assert list_images(str(tmp_path)) == wanted


@pytest.mark.parametrize(("rate", "step_s"), [(None, 1.0), (4.0, 0.25)])
def test_a_folder_is_shown_at_its_rate(rate, step_s, reader, tmp_path):
    for place in range(12):
        save(tmp_path / f"frame{place}.png", place)
    frames = reader.submit(tmp_path, Sampling(frames=4), rate).result()
    assert frames.indices == (0, 3, 7, 11)
    assert frames.seconds == tuple(place * step_s for place in frames.indices)
    for picture, place in zip(frames.pixels, frames.indices, strict=True):
        assert np.array_equal(picture, drawn(place, 64, 48))
    info = frames.info
    assert (info.frames_total, info.duration_s, info.fps) == (12, 12 * step_s, 1 / step_s)
    assert (info.decoder, info.decoder_reason) == ("pillow", "a folder of pictures")
    assert (info.damaged, info.warnings) == (False, ())
    window = reader.submit(tmp_path, Sampling(start_s=2 * step_s, end_s=4 * step_s), rate).result()
    assert window.indices == (2, 3)


def test_pictures_that_cannot_be_read_are_named_and_left_out(reader, tmp_path):
    for place in range(10):
        save(tmp_path / f"{place}.png", place)
    for place in (0, 4, 5, 7):
        path = tmp_path / f"{place}.png"
        path.write_bytes(path.read_bytes()[: 40 if place == 4 else 300])
    (tmp_path / "5.png").write_bytes(b"")
    frames = reader.submit(tmp_path, Sampling()).result()
    assert frames.seconds == (1, 2, 3, 6, 8, 9)
    for picture, second in zip(frames.pixels, frames.seconds, strict=True):
        assert np.array_equal(picture, drawn(int(second), 64, 48))
    assert frames.info.damaged
    (warning,) = frames.info.warnings
    assert warning.startswith("4 of 10 pictures cannot be read: '")
    assert warning.endswith(", ...")


def test_a_folder_of_wrecks_is_one_sentence(reader, tmp_path):
    for place in range(3):
        (tmp_path / f"{place}.jpg").write_bytes(b"\xff\xd8\xff wreck")
    with pytest.raises(VideoError, match="Not one picture of") as caught:
        reader.submit(tmp_path, Sampling(frames=8)).result()
    assert caught.value.reason == "no_frames"


def test_pictures_of_other_sizes_get_the_size_of_the_first(reader, tmp_path):
    save(tmp_path / "1.jpg", size=(64, 48), quality=95)
    save(tmp_path / "2.jpg", size=(320, 240), quality=95)
    frames = reader.submit(tmp_path, Sampling()).result()
    assert frames.pixels.shape == (2, 48, 64, 3)
    assert psnr(frames.pixels[1, 8:-8, 8:-8], drawn(0, 64, 48)[8:-8, 8:-8]) > 25


@pytest.mark.parametrize("name", ["one.png", "one.jpg", "one.webp", "one.bmp", "one.tiff", "one.ppm", "one.txt"])
def test_a_single_picture_is_a_video_of_one_frame(name, reader, tmp_path):
    save(tmp_path / name, 3, **{"format": "PNG"} if name == "one.txt" else {"quality": 95})
    frames = reader.submit(tmp_path / name, Sampling(frames=8)).result()
    assert (frames.indices, frames.seconds, frames.info.frames_total) == ((0,), (0.0,), 1)
    assert psnr(frames.pixels[0], drawn(3, 64, 48)) > 28
    assert (frames.info.decoder, frames.info.decoder_reason) == ("pillow", "a picture")


def test_a_camera_held_on_its_side_gives_an_upright_picture(reader, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "side.png", exif=exif)
    frames = reader.submit(tmp_path / "side.png", Sampling()).result()
    assert np.array_equal(frames.pixels[0], np.rot90(drawn(0, 64, 48), -1))


def test_sixteen_bits_of_grey_become_eight(reader, tmp_path):
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    frames = reader.submit(tmp_path / "deep.png", Sampling()).result()
    assert np.abs(frames.pixels[0].astype(int) - (grey // 257)[..., None]).max() <= 1


def test_an_animated_webp_keeps_its_own_times(reader, tmp_path):
    pictures = [Image.fromarray(drawn(place, 64, 48)) for place in range(4)]
    pictures[0].save(tmp_path / "moving.webp", save_all=True, append_images=pictures[1:], duration=[100, 300, 50, 50])
    frames = reader.submit(tmp_path / "moving.webp", Sampling()).result()
    np.testing.assert_allclose(frames.seconds, [0, 0.1, 0.4, 0.45])
    assert frames.info.duration_s == pytest.approx(0.5)
    assert min(psnr(picture, drawn(place, 64, 48)) for place, picture in enumerate(frames.pixels)) > 25


@pytest.mark.parametrize("place", [0.3, 0.7])
def test_half_a_picture_is_no_picture(place, reader, tmp_path):
    save(tmp_path / "half.jpg", size=(320, 240))
    content = (tmp_path / "half.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: int(place * len(content))])
    with pytest.raises(VideoError, match="Not one picture"):
        reader.submit(tmp_path / "half.jpg", Sampling()).result()


def test_a_picture_too_large_to_be_true_is_refused(reader, tmp_path):
    Image.new("1", (14_000, 14_000)).save(tmp_path / "bomb.png")
    with pytest.raises(VideoError, match="Not one picture"):
        reader.submit(tmp_path / "bomb.png", Sampling()).result()


def test_motion_jpeg_is_a_video(tmp_path):
    write(tmp_path / "film.mjpeg", codec="mjpeg", pixels="yuvj420p")
    assert not is_image(str(tmp_path / "film.mjpeg"))


def test_decord_alone_reads_no_pictures(tmp_path):
    save(tmp_path / "one.png")
    with VideoReader("decord") as reader, pytest.raises(UsageError, match="it is a picture"):
        reader.submit(tmp_path / "one.png", Sampling()).result()
