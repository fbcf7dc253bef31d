"""Decoding accesses no other file and no network, and is bounded in memory and time."""

import os
import socket
import struct
import threading
import time

import pytest

from dycoke_cli.errors import VideoError
from dycoke_cli.video import container as container_module
from dycoke_cli.video.container import MAX_STORED_PIXELS, cores, open_container, video_stream
from dycoke_cli.video.reader import VideoReader, read_frames
from dycoke_cli.video.sampling import Sampling
from tests.video.clips import clip, worker_after
from tests.video.made import write

EIGHT = Sampling(frames=8)


@pytest.fixture(scope="module")
def reader():
    with VideoReader() as reader:
        yield reader


PLAYLISTS = {
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n",
    "hls_key.ts": '#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-KEY:METHOD=AES-128,URI="{}"\n#EXTINF:5,\na.ts\n',
    "concat.mp4": "ffconcat version 1.0\nfile {}\n",
    "dash.mp4": '<?xml version="1.0"?>\n<MPD type="static"><Period><BaseURL>{}</BaseURL></Period></MPD>',
    "session.sdp": "v=0\r\no=- 0 0 IN IP4 {0}\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
    "redirect.asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "old.asf": "[Reference]\nRef1={}\n",
    "real.rm": "{}\n",
    "script.avs": 'AviSource("{}")\n',
}


@pytest.mark.parametrize("decoder", ["auto", "decord", "pyav"])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_no_network_is_reached(name, decoder, tmp_path):
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server, VideoReader(decoder) as reader:
        server.settimeout(0.2)
        address = "http://{}:{}/a.ts".format(*server.getsockname())
        (tmp_path / name).write_text(PLAYLISTS[name].format(address))
        with pytest.raises(VideoError) as caught:
            reader.submit(tmp_path / name, EIGHT).result()
        with pytest.raises(TimeoutError):
            asked.append(server.accept())
    assert asked == []
    assert caught.value.exit_code == 3
    assert address not in caught.value.message


@pytest.mark.parametrize("name", PLAYLISTS)
def test_no_other_file_is_opened(name, reader, tmp_path):
    """Opening the pipe would hang; a video named by its full path is not decoded either."""
    os.mkfifo(tmp_path / "other.ts")
    for target in ("other.ts", str(clip("h264.ts")), f"file:{clip('h264.ts')}"):
        (tmp_path / name).write_text(PLAYLISTS[name].format(target))
        began = time.monotonic()
        with pytest.raises(VideoError):
            reader.submit(tmp_path / name, EIGHT).result()
        assert time.monotonic() - began < 10


def test_an_mp4_that_keeps_its_frames_elsewhere_gets_none(reader, tmp_path):
    """QuickTime files may refer to data in another file; here the reference is the full path of a valid video."""
    write(tmp_path / "good.mov", size=(64, 48))
    content = (tmp_path / "good.mov").read_bytes()
    here = content.index(b"dref")
    elsewhere = str(tmp_path / "good.mov").encode()
    entry = struct.pack(">I4sI", 12 + len(elsewhere), b"url ", 0) + elsewhere
    reference = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    old = struct.unpack(">I", content[here - 4 : here])[0]
    grown = len(reference) - old
    changed = bytearray(content[: here - 4] + reference + content[here - 4 + old :])
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = changed.rindex(box, 0, here + 8) - 4
        changed[at : at + 4] = struct.pack(">I", struct.unpack(">I", changed[at : at + 4])[0] + grown)
    start = changed.index(b"mdat") + 4
    moov = changed.index(b"moov") - 4
    changed[start:moov] = bytes(moov - start)  # remove the frames from this file
    (tmp_path / "refers.mov").write_bytes(changed)
    with pytest.raises(VideoError, match="not one frame of it can be decoded"):
        reader.submit(tmp_path / "refers.mov", EIGHT).result()


def test_both_reasons_are_told_where_both_decoders_refuse(reader, tmp_path):
    content = bytearray(clip("h264_cfr.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 100 :] = bytes(len(content) - start - 100)
    (tmp_path / "hollow.mp4").write_bytes(content)
    with pytest.raises(VideoError) as caught:
        reader.submit(tmp_path / "hollow.mp4", EIGHT).result()
    message = caught.value.message
    assert caught.value.reason == "no_frames"
    assert "PyAV says 'Invalid data found when processing input'" in message
    assert "decord says '" in message
    assert "\n" not in message
    assert caught.value.remedy
    with VideoReader("pyav") as pyav, pytest.raises(VideoError) as caught:
        pyav.submit(tmp_path / "hollow.mp4", EIGHT).result()
    assert "decord" not in caught.value.message


@pytest.mark.parametrize("side", [65535, 16384])
def test_frames_too_large_to_be_true_are_refused_before_they_are_made(side, reader, tmp_path):
    header = b"GIF89a" + struct.pack("<HH", side, side) + b"\xf0\0\0" + bytes(3) + b"\xff\xff\xff"
    picture = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    (tmp_path / "bomb.gif").write_bytes(header + 40 * picture + b";")
    began = time.monotonic()
    with pytest.raises(VideoError, match="not one frame of it can be decoded"):
        reader.submit(tmp_path / "bomb.gif", EIGHT).result()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("what", ["bytearray(6 << 30)", "__import__('numpy').ones(6 << 27)"])
def test_a_decoder_that_eats_memory_ends_as_an_error(what, monkeypatch):
    """An allocation above the limit of the worker fails there, without effect on this process."""
    prelude = f"from dycoke_cli.video import pyav_reader\npyav_reader.decode_frames = lambda *_: {what}\n"
    monkeypatch.setattr("dycoke_cli.video.worker_process.worker_command", worker_after(prelude))
    with pytest.raises(VideoError, match="too little memory") as caught:
        read_frames(clip("h264_cfr.mp4"), EIGHT, decoder="pyav")
    assert caught.value.reason == "too_large"


def test_threads_and_pixels_of_a_decoder_are_bounded(monkeypatch):
    path = str(clip("h264_cfr.mp4"))
    with open_container(path, "it") as container:
        context = video_stream(container, "it").codec_context
        assert 1 <= context.thread_count <= min(8, cores())
        assert context.options["max_pixels"] == str(MAX_STORED_PIXELS)
    monkeypatch.setattr(container_module, "MAX_STORED_PIXELS", 640 * 360 - 1)
    with open_container(path, "it") as container, pytest.raises(VideoError, match="640x360, which would fill"):
        video_stream(container, "it")


def test_a_stream_that_grows_beyond_its_header_is_stopped(monkeypatch, tmp_path):
    write(tmp_path / "a.h264", size=(64, 48))
    write(tmp_path / "b.h264", size=(320, 240))
    (tmp_path / "both.h264").write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    prelude = "from dycoke_cli.video import container; container.MAX_STORED_PIXELS = 100 * 100\n"
    monkeypatch.setattr("dycoke_cli.video.worker_process.worker_command", worker_after(prelude))
    frames = read_frames(tmp_path / "both.h264", Sampling())
    assert len(frames) == 12
    assert frames.info.damaged


def test_readers_in_many_threads_do_not_disturb_each_other():
    found = {}

    def work(name, count):
        with VideoReader() as reader:
            found[name] = reader.submit(clip(name), Sampling(frames=count)).result().indices

    work_of = {"one_frame.mp4": 1, "two_frames.mp4": 2, "tc_h265.mp4": 4}
    threads = [threading.Thread(target=work, args=pair) for pair in work_of.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"one_frame.mp4": (0,), "two_frames.mp4": (0, 1), "tc_h265.mp4": (0, 3, 6, 9)}


def test_long_files_are_left_to_pyav(monkeypatch):
    prelude = "from dycoke_cli.video import decode_job; decode_job._MAX_DECORD_FRAMES = 100\n"
    monkeypatch.setattr("dycoke_cli.video.worker_process.worker_command", worker_after(prelude))
    frames = read_frames(clip("h264_cfr.mp4"), EIGHT)
    assert (frames.info.decoder, frames.info.decoder_reason) == ("pyav", "long, and PyAV reads only what it needs")
    assert read_frames(clip("h264_cfr.mp4"), EIGHT, decoder="decord").info.decoder == "decord"


def test_much_to_decode_is_left_to_pyav(monkeypatch):
    """The limit applies to the pixels decoded for the chosen frames, not to the length of the file."""
    prelude = "from dycoke_cli.video import decode_job; decode_job._MAX_DECORD_PIXELS = 10 * 640 * 360\n"
    monkeypatch.setattr("dycoke_cli.video.worker_process.worker_command", worker_after(prelude))
    with VideoReader() as reader:
        many = reader.submit(clip("h264_cfr.mp4"), EIGHT).result()
        few = reader.submit(clip("h264_cfr.mp4"), Sampling(places=[0, 3])).result()
    assert (many.info.decoder, many.info.decoder_reason) == ("pyav", "much to decode, at which PyAV is faster")
    assert few.info.decoder == "decord"
