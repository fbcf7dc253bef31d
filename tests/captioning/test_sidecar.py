"""Texts beside videos: ours follow the captions, other people's stay."""

from pathlib import Path

import pytest

from dycoke_cli.captioning.sidecar import Sidecars, left_alone
from dycoke_cli.errors import UsageError
from tests.captioning.made import items_in, record


def test_a_text_follows_its_caption(tmp_path: Path) -> None:
    """Written, written anew where caption or frame of it change, written again where it is gone."""
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
    """A caption somebody wrote by hand is replaced only when asked for; a failure writes nothing."""
    item, failed = items_in(tmp_path, "a.mp4", "b.mp4")
    text = tmp_path / "a.txt"
    text.write_text("by hand")
    kept = Sidecars().write(record(item), None)
    assert (text.read_text(), kept.sidecar, left_alone([kept])) == ("by hand", None, 1)
    assert Sidecars(overwrite=True).write(record(item), None).sidecar == "a cube"
    assert text.read_text() == "a cube\n"
    assert left_alone([Sidecars().write(record(failed, None), None)]) == 0
    assert not (tmp_path / "b.txt").exists()


def test_two_videos_cannot_share_a_text(tmp_path: Path) -> None:
    """Refused before any work, naming both."""
    with pytest.raises(UsageError, match=r"'a\.mp4' and 'a\.webm' would share the text 'a\.txt'"):
        Sidecars().check(items_in(tmp_path, "a.mp4", "a.webm"))
    Sidecars().check(items_in(tmp_path, "a.mp4", "below/a.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.webm", "below"]
