"""The cache folder of encoded videos, limited in size: the entries used least recently are removed."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.cache.content_key import ContentIndex
from dycoke_cli.cache.entry import SUFFIX, Entry

if TYPE_CHECKING:
    from dycoke_cli.config.settings import Settings

GB = 10**9
ABANDONED_S = 3600.0  # a temporary file unchanged for so long belongs to a process that has ended


def cache_folder() -> Path:
    """Return the folder of encoded videos, below the assets folder of the hub client. Raises OSError."""
    from huggingface_hub import cached_assets_path, constants

    try:
        return cached_assets_path("dycoke", "encoded", "videos", assets_dir=constants.HF_ASSETS_CACHE)
    except ValueError as error:
        raise OSError(str(error)) from error


def open_cache(settings: "Settings") -> "Cache | None":
    """Open the cache; None if the settings disable it, or its folder cannot be created."""
    if not settings.cache:
        return None
    try:
        return Cache(cache_folder(), int(settings.cache_size * GB))
    except OSError:
        return None


class Cache:
    """Encoded videos in one folder, up to `limit` bytes.

    Several processes may use it at once: files are written atomically and never changed.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.contents = ContentIndex(folder)

    def path(self, key: dict[str, Any], content: str, saliency: bool) -> Path:
        """Return the path of the entry for a video's content and a key."""
        text = json.dumps({**key, "content": content}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}{'.saliency' if saliency else ''}{SUFFIX}"

    def entries(self) -> Iterator[Entry]:
        """Yield all valid entries, in no order."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            if not path.name.startswith(".") and (entry := Entry.at(path)) is not None:
                yield entry

    def make_room(self, for_bytes: int = 0) -> int:
        """Remove entries, the least recently used first, until `for_bytes` more fit; return how many were removed."""
        removed = 0
        entries = sorted(self.entries(), key=lambda entry: entry.used_s)
        total = sum(entry.bytes for entry in entries) + for_bytes
        for entry in entries:
            if total <= self.limit:
                break
            entry.path.unlink(missing_ok=True)
            total, removed = total - entry.bytes, removed + 1
        for temporary in self.folder.glob(".*"):
            with suppress(OSError):
                if time.time() - temporary.stat().st_mtime > ABANDONED_S:
                    temporary.unlink()
        return removed

    def clear(self) -> tuple[int, int]:
        """Remove everything; return the number of entries and their bytes. Raises OSError."""
        entries = list(self.entries())
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)
        return len(entries), sum(entry.bytes for entry in entries)
