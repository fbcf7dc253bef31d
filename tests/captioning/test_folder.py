"""Videos found in folders: each once, with an id that is the same on every machine."""

import os
from pathlib import Path

import pytest

from dycoke_cli.captioning.folder import ENDINGS, find_videos, parse_endings
from dycoke_cli.errors import InputError, UsageError


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(name))


def ids(*places: Path, recursive: bool = True) -> list[str]:
    return [item.id for item in find_videos(places, ENDINGS, recursive).items]


def test_videos_are_recognised_by_their_endings(tmp_path: Path) -> None:
    """Hidden files and other endings are skipped; subfolders are searched only with `recursive`."""
    fill(
        tmp_path,
        "b.MP4",
        "a.mkv",
        "notes.txt",
        ".hidden.mp4",
        "._b.mp4",
        "below/c.webm",
        "below/deep/d.mov",
        ".x/e.mp4",
    )
    assert ids(tmp_path) == ["a.mkv", "b.MP4", "below/c.webm", "below/deep/d.mov"]
    found = find_videos([tmp_path], ENDINGS, False)
    assert ([item.id for item in found.items], found.skipped_in_subfolders) == (["a.mkv", "b.MP4"], 2)
    assert [item.id for item in find_videos([tmp_path], parse_endings(" .MKV,txt "), False).items] == [
        "a.mkv",
        "notes.txt",
    ]
    with pytest.raises(UsageError, match="names no ending"):
        parse_endings(" , ")


def test_each_video_is_found_once(tmp_path: Path) -> None:
    """Videos given twice, by symbolic or hard links, through linked folders, or in a cycle of links."""
    fill(tmp_path, "real/cube.mp4", "real/star.mp4")
    (tmp_path / "a link.mp4").symlink_to(tmp_path / "real" / "cube.mp4")
    os.link(tmp_path / "real" / "star.mp4", tmp_path / "star again.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = find_videos([tmp_path, tmp_path / "real", tmp_path / "real" / "cube.mp4"], ENDINGS, True)
    assert [item.id for item in found.items] == ["real/cube.mp4", "real/star.mp4"]
    assert {os.path.basename(path) for path in found.duplicates} == {"a link.mp4", "star again.mp4"}


def test_any_file_name_is_accepted(tmp_path: Path) -> None:
    """Spaces, line breaks, other scripts, and bytes that are not valid UTF-8."""
    names = ["with space.mp4", "with\nbreak.mp4", "видео 視頻.mp4", os.fsdecode(b"caf\xe9.mp4"), "-dash.mp4", "'\".mp4"]
    fill(tmp_path, *names)
    assert set(ids(tmp_path)) == set(names)


def test_ids_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    """Equal trees in different places have equal ids."""
    for place in ("one", "other/place"):
        fill(tmp_path / place, "a.mp4", "below/b.mp4")
    assert ids(tmp_path / "one") == ids(tmp_path / "other" / "place") == ["a.mp4", "below/b.mp4"]


def test_a_link_to_nothing_is_a_video_that_fails(tmp_path: Path) -> None:
    """A broken link is returned as an item, to fail later; a missing folder raises InputError."""
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert ids(tmp_path) == ["gone.mp4"]
    with pytest.raises(InputError, match="does not exist"):
        ids(tmp_path / "nowhere")
