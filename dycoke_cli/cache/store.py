"""The folder of encoded videos: what is looked up, what is kept, and what has to go."""

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
ABANDONED_S = 3600.0  # a half-written file that nobody has touched for so long belongs to a process that is gone


def cache_folder() -> Path:
    """Say where encoded videos lie: below the assets folder of the hub client. Raises OSError."""
    from huggingface_hub import cached_assets_path, constants

    try:
        return cached_assets_path("dycoke", "encoded", "videos", assets_dir=constants.HF_ASSETS_CACHE)
    except ValueError as error:
        raise OSError(str(error)) from error


def open_cache(settings: "Settings") -> "Cache | None":
    """Open the cache that the settings ask for; None where they want none, or its folder cannot be made."""
    if not settings.cache:
        return None
    try:
        return Cache(cache_folder(), int(settings.cache_size * GB))
    except OSError:
        return None


class Cache:
    """Encoded videos below one folder, those used last, up to `limit` bytes.

    Several processes may use it at once: files appear whole and are never changed.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.contents = ContentIndex(folder)

    def path(self, wanted: dict[str, Any], content: str, saliency: bool) -> Path:
        """Say where a look at some content belongs."""
        text = json.dumps({**wanted, "content": content}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}{'.saliency' if saliency else ''}{SUFFIX}"

    def entries(self) -> Iterator[Entry]:
        """Give all that is there, in no order; what is torn or foreign is left out."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            if not path.name.startswith(".") and (entry := Entry.at(path)) is not None:
                yield entry

    def make_room(self, for_bytes: int = 0) -> int:
        """Remove what was not used for longest until the rest and `for_bytes` more fit; gives how many had to go."""
        removed = 0
        entries = sorted(self.entries(), key=lambda entry: entry.used_s)
        total = sum(entry.bytes for entry in entries) + for_bytes
        for entry in entries:
            if total <= self.limit:
                break
            entry.path.unlink(missing_ok=True)
            total, removed = total - entry.bytes, removed + 1
        for half in self.folder.glob(".*"):
            with suppress(OSError):
                if time.time() - half.stat().st_mtime > ABANDONED_S:
                    half.unlink()
        return removed

    def clear(self) -> tuple[int, int]:
        """Remove everything; gives how many encoded videos there were, and their bytes. Raises OSError."""
        entries = list(self.entries())
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)
        return len(entries), sum(entry.bytes for entry in entries)
