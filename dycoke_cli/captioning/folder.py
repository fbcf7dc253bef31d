"""Find the video files below folders, each once, whatever names and links lead to it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.captioning.item import Item
from dycoke_cli.errors import InputError, UsageError
from dycoke_cli.video.source import VIDEO_ENDINGS as ENDINGS


@dataclass(frozen=True)
class Found:
    """The videos found in the given files and folders."""

    items: tuple[Item, ...]  # sorted by id
    duplicates: tuple[str, ...]  # further paths of videos that are among the items
    skipped_in_subfolders: int  # videos, because the search is not recursive


def parse_endings(text: str | None) -> tuple[str, ...]:
    """Parse a list such as `mp4,webm`; None gives the default endings. Raises UsageError."""
    if text is None:
        return ENDINGS
    endings = tuple(part.strip().lower().removeprefix(".") for part in text.split(",") if part.strip(" ."))
    if not endings:
        raise UsageError(f"--ext is {text!r}, which names no ending", "Write it like --ext mp4,webm")
    return endings


def find_videos(places: Sequence[Path], endings: Sequence[str], recursive: bool) -> Found:
    """Find the videos in folders by their endings; files given by name are taken whatever theirs.

    Hidden files are skipped. A file with several names or links is returned once, under its own name. Raises InputError
    for a place that does not exist or cannot be read.
    """
    folders = [os.path.abspath(place if place.is_dir() else place.parent) for place in places]
    top = os.path.abspath(os.path.commonpath(folders))
    paths: set[str] = set()
    skipped = 0
    for place in places:
        if place.is_dir():
            for path, deep in _walk(place, endings):
                if deep and not recursive:
                    skipped += 1
                else:
                    paths.add(path)
        elif os.path.lexists(place):
            paths.add(os.path.abspath(place))
        else:
            raise InputError(f"{str(place)!r} does not exist", "Name a folder of videos")
    items, duplicates = _deduplicated(sorted(paths, key=lambda path: (os.path.islink(path), path)), top)
    return Found(tuple(sorted(items, key=lambda item: item.id)), tuple(duplicates), skipped)


def _walk(folder: Path, endings: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield video paths, and whether each lies in a subfolder; a folder reached through several links is read once."""
    wanted = tuple(f".{ending}" for ending in endings)
    seen: set[tuple[int, int]] = set()
    top = os.path.abspath(folder)
    for place, folders, files in os.walk(top, followlinks=True, onerror=_refuse):
        facts = os.stat(place)
        if (facts.st_dev, facts.st_ino) in seen:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(wanted) and not name.startswith("."):
                yield os.path.join(place, name), place != top


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename!r} cannot be read: {error.strerror}", "Change its permissions") from None


def _deduplicated(paths: Sequence[str], top: str) -> tuple[list[Item], list[str]]:
    """Return the distinct files, and the further paths of the same ones.

    Files are compared by device and inode; those that cannot be reached, by path.
    """
    items, duplicates, seen = [], [], set()
    for path in paths:
        try:
            facts = os.stat(path)
            same: object = (facts.st_dev, facts.st_ino)
        except OSError:
            same = path
        if same in seen:
            duplicates.append(path)
        else:
            seen.add(same)
            items.append(Item(os.path.relpath(path, top).replace(os.sep, "/"), path))
    return items, duplicates
