"""Every file of tests/media is read as its manifest describes."""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import MEDIA, clip, looks_right, number, seconds

TABLE = [line for line in (MEDIA / "MANIFEST.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
COLUMNS = [cell.strip() for cell in TABLE[0].strip("|").split("|")]
ROWS = [dict(zip(COLUMNS, (cell.strip() for cell in line.strip("|").split("|")), strict=True)) for line in TABLE[2:]]
MANIFEST = {row["file"].strip("`"): row for row in ROWS}
VIDEOS = [name for name, row in MANIFEST.items() if row["frames"] != "-"]
NO_VIDEO = {
    "audio_only.mp4": ("no_video", "has no video stream"),
    "text.mp4": ("not_a_video", "is not a video that can be read"),
    "cut60_moov_lost.mp4": ("not_a_video", "index of the mp4 file is missing"),
    "playlist_local.mp4": ("not_a_video", "is a playlist"),
    "zero_bytes.mp4": ("empty", "is empty"),
}
TURNED = {"rot90.mp4", "decord_rot90.mov"}
DAMAGED = {
    "cut60_faststart.mp4": "only 86 of 150 frames can be read",
    "corrupt_mid_rand.mp4": "only 119 of 150 frames can be read",
    "decord_corrupted.mp4": "only 49 of 50 frames can be read",
}
PYAV = {
    "h264_bf_opengop.mp4": "open GOP",
    "hevc_8bit.mp4": "open GOP",
    "tc_h265.mp4": "open GOP",
    "editlist_trim.mp4": "edit list",
    "tc_av1.mkv": "AV1",
    "av1_svt.mp4": "AV1",
    "anim.gif": "GIF",
    "h264.ts": "mpegts container",
    "mjpeg.avi": "avi container",
    "tc_nasa.mp4": "several video streams",
    "cut60_faststart.mp4": "damaged packets",
    "corrupt_mid_rand.mp4": "decord failed: Thread worker: Error sending packet",
    "decord_corrupted.mp4": "decord failed: Thread worker: Error sending packet",
}
DECORD = {"mpy_bbb_1s.webm": "closed-GOP vp8 in matroska", "vp9_odd_321x181.webm": "closed-GOP vp9 in matroska"}


@pytest.fixture(scope="module")
def readers():
    """One reader for each decoder, each with one worker process for all tests here."""
    with VideoReader("auto") as auto, VideoReader("pyav") as pyav, VideoReader("decord") as decord:
        yield {"auto": auto, "pyav": pyav, "decord": decord}


def check(name, frames, count):
    """Compare number, times and content of frames with the ground truth."""
    total = len(seconds(name))
    assert len(frames) == min(count, total)
    assert frames.info.frames_total == total
    assert list(frames.indices) == sorted(set(frames.indices))
    np.testing.assert_allclose(frames.seconds, seconds(name)[list(frames.indices)], atol=2e-3)
    pairs = enumerate(zip(frames.pixels, frames.seconds, strict=True))
    assert [place for place, (picture, second) in pairs if not looks_right(name, picture, second)] == []


def test_the_manifest_lists_what_is_here():
    here = {path.name for path in MEDIA.iterdir()} - {"MANIFEST.md", "truth.npz"}
    assert set(MANIFEST) == here
    assert set(NO_VIDEO) == here - set(VIDEOS)


@pytest.mark.parametrize("name", MANIFEST)
def test_a_file_is_the_one_that_was_described(name):
    content = clip(name).read_bytes()
    assert str(len(content)) == MANIFEST[name]["bytes"]
    assert hashlib.sha256(content).hexdigest().startswith(MANIFEST[name]["sha256"])


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_times_size_decoder_and_damage_are_as_described(name, readers):
    row = MANIFEST[name]
    frames = readers["auto"].submit(clip(name), Sampling(frames=32)).result()
    check(name, frames, 32)
    info = frames.info
    width, height = (int(length) for length in row["size"].split("x"))
    size = (width, height) if name in TURNED else (height, width)
    assert frames.pixels.shape[1:] == (*size, 3)
    assert (info.height, info.width) == size
    assert str(info.frames_total) == row["frames"]
    if name not in DAMAGED:
        assert info.duration_s == pytest.approx(float(row["duration"]), abs=0.006)
        assert info.fps == pytest.approx(float(row["fps"]), rel=0.01)
    assert info.damaged == (name in DAMAGED)
    assert info.warnings[:1] == ((DAMAGED[name],) if name in DAMAGED else ())
    reason = PYAV.get(name) or DECORD.get(name, "closed-GOP h264 in mp4")
    assert (info.decoder, info.decoder_reason) == ("pyav" if name in PYAV else "decord", reason)


@pytest.mark.parametrize("name", [name for name in PYAV if name not in DAMAGED])
def test_every_frame_of_what_decord_cannot_do_is_right(name, readers):
    check(name, readers["auto"].submit(clip(name), Sampling()).result(), 1000)


@pytest.mark.parametrize("name", DAMAGED)
def test_all_that_is_left_of_a_damaged_file_is_right(name, readers):
    frames = readers["pyav"].submit(clip(name), Sampling()).result()
    check(name, frames, 1000)
    assert frames.info.as_json()["damaged"] is True


@pytest.mark.parametrize("name", ["h264_cfr.mp4", "vfr_gap.mp4", "mpy_bbb_1s.webm", "rot90.mp4", "decord_rot90.mov"])
def test_both_decoders_give_the_same_pixels(name, readers):
    pending = {decoder: readers[decoder].submit(clip(name), Sampling(frames=6)) for decoder in ("decord", "pyav")}
    decord, pyav = pending["decord"].result(), pending["pyav"].result()
    assert decord.info.decoder == "decord"
    assert pyav.info.decoder_reason == "asked for"
    assert np.array_equal(decord.pixels, pyav.pixels)
    assert decord.seconds == pyav.seconds


@pytest.mark.parametrize("decoder", ["auto", "pyav", "decord"])
@pytest.mark.parametrize("name", NO_VIDEO)
def test_what_is_no_video_is_told_in_one_line(name, decoder, readers):
    with pytest.raises(VideoError) as caught:
        readers[decoder].submit(clip(name), Sampling(frames=8)).result()
    reason, message = NO_VIDEO[name]
    assert (caught.value.reason, caught.value.exit_code) == (reason, 3)
    assert message in caught.value.message
    assert repr(str(clip(name))) in caught.value.message
    assert "\n" not in caught.value.message
    assert "this is not a video" not in caught.value.message  # the content of text.mp4
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["h264_bf_opengop.mp4", "editlist_trim.mp4", "tc_av1.mkv", "anim.gif", "h264.ts"])
def test_decord_is_refused_where_it_would_be_wrong(name, readers):
    with pytest.raises(UsageError, match="decord would not give the right frames") as caught:
        readers["decord"].submit(clip(name), Sampling(frames=8)).result()
    assert PYAV[name] in caught.value.message
    assert "auto" in caught.value.remedy


def processor_s(pid):
    """Return the processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hours_take_no_longer_than_two_seconds(readers):
    """Measured in processor time, which other load on the machine does not change."""
    reader = readers["auto"]
    reader.submit(clip("one_frame.mp4"), Sampling()).result()
    began = processor_s(reader.child_pid)
    frames = reader.submit(clip("long_2h_1fps.mp4"), Sampling(frames=64)).result()
    assert [number(picture) for picture in frames.pixels] == [place % 4096 for place in frames.indices]
    assert processor_s(reader.child_pid) - began < 2
