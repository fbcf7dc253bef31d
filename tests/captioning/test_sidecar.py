"""Text files beside videos: those of this program follow the captions, others stay."""

from pathlib import Path

import pytest

from dycoke_cli.captioning.sidecar import Sidecars, count_unwritten
from dycoke_cli.errors import UsageError
from tests.captioning.made import items_in, record


def test_a_text_follows_its_caption(tmp_path: Path) -> None:
    """Written once, and again where caption, prefix or suffix change or the file is missing."""
    (item,) = items_in(tmp_path, "a.b.mp4")
    text = tmp_path / "a.b.txt"
    first = Sidecars("photo, ", ".").write(record(item, "a cube"), None)
    assert text.read_text() == "photo, a cube.\n"
    second = Sidecars().write(record(item, "a star"), first)
    assert text.read_text() == "a star\n"
    text.unlink()
    assert Sidecars().write(second, second) == second
    assert text.read_text() == "a star\n"


def test_texts_of_others_stay(tmp_path: Path) -> None:
    """A text of other origin is replaced only with `overwrite`; a failed video writes none."""
    item, failed = items_in(tmp_path, "a.mp4", "b.mp4")
    text = tmp_path / "a.txt"
    text.write_text("by hand")
    kept = Sidecars().write(record(item), None)
    assert (text.read_text(), kept.sidecar, count_unwritten([kept])) == ("by hand", None, 1)
    assert Sidecars(overwrite=True).write(record(item), None).sidecar == "a cube"
    assert text.read_text() == "a cube\n"
    assert count_unwritten([Sidecars().write(record(failed, None), None)]) == 0
    assert not (tmp_path / "b.txt").exists()


def test_two_videos_cannot_share_a_text(tmp_path: Path) -> None:
    """Raises UsageError naming both, before anything is written."""
    with pytest.raises(UsageError, match=r"'a\.mp4' and 'a\.webm' would share the text file 'a\.txt'"):
        Sidecars().check(items_in(tmp_path, "a.mp4", "a.webm"))
    Sidecars().check(items_in(tmp_path, "a.mp4", "below/a.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.webm", "below"]
