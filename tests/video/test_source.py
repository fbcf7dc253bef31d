"""Paths that are not readable videos raise VideoError with their cause, before any process is started."""

import os
import socket
import sys
import time

import pytest

from dycoke_cli.errors import VideoError
from dycoke_cli.video import reader
from dycoke_cli.video.reader import read_frames
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.source import check_source, images_in
from tests.video.clips import clip

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file kinds")


def _missing(folder):
    return folder / "missing.mp4"


def _below_a_file(folder):
    (folder / "file").write_text("x")
    return folder / "file" / "clip.mp4"


def _folder(folder):
    (folder / "folder.mp4" / "below.jpg").mkdir(parents=True)
    (folder / "folder.mp4" / "notes.txt").write_text("no picture")
    (folder / "folder.mp4" / ".hidden.jpg").write_bytes(b"x")
    return folder / "folder.mp4"


def _empty(folder):
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def _pipe(folder):
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


def _socket(folder):
    os.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.mp4")
    return folder / "s.mp4"


def _device(folder):
    return "/dev/zero"


def _dangling(folder):
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    return folder / "dangling.mp4"


def _loop(folder):
    (folder / "a.mp4").symlink_to("b.mp4")
    (folder / "b.mp4").symlink_to("a.mp4")
    return folder / "a.mp4"


def _nul(folder):
    return f"{folder}/a\0b.mp4"


def _too_long(folder):
    return folder / ("x" * 5000)


CASES = [
    (_missing, "missing", "does not exist"),
    (_below_a_file, "missing", "does not exist"),
    (_nul, "missing", "not a possible file name"),
    (_too_long, "not_readable", "cannot be opened"),
    (_folder, "not_a_file", "is a folder without pictures"),
    (_empty, "empty", "is empty"),
    pytest.param(_pipe, "not_a_file", "is a pipe", marks=posix),
    pytest.param(_socket, "not_a_file", "is a socket", marks=posix),
    pytest.param(_device, "not_a_file", "is a device", marks=posix),
    pytest.param(_dangling, "missing", "is a link to 'nowhere.mp4', which does not exist", marks=posix),
    pytest.param(_loop, "missing", "leads back to itself", marks=posix),
]


@pytest.mark.parametrize(("make", "reason", "message"), CASES)
def test_each_cause_has_its_own_sentence(make, reason, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)
    monkeypatch.setattr(reader, "WorkerProcess", lambda: pytest.fail("a process was started"))
    began = time.monotonic()
    with pytest.raises(VideoError) as caught:
        read_frames(path, Sampling(frames=8))
    assert time.monotonic() - began < 1
    assert (caught.value.reason, caught.value.exit_code) == (reason, 3)
    assert message in caught.value.message
    assert repr(str(path)) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.remedy


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(tmp_path):
    path = tmp_path / "private.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(VideoError, match="may not be read by this user") as caught:
        check_source(path)
    assert caught.value.reason == "not_readable"


def test_a_folder_without_permission_is_told(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(VideoError, match="may not be read by this user"):
        images_in(str(tmp_path))


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_file_that_does_not_open_is_told(error, tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")

    def refuse(*_):
        raise error

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VideoError) as caught:
        check_source(path)
    assert caught.value.reason == "not_readable"


def test_a_good_file_gives_its_absolute_path(monkeypatch):
    path = clip("one_frame.mp4")
    monkeypatch.chdir(path.parent)
    assert check_source("one_frame.mp4") == str(path)
