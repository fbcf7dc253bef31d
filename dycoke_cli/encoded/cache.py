"""The folder of encoded videos: what is looked up, what is kept, and what has to go."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli import __version__
from dycoke_cli.encoded.content import ContentIndex
from dycoke_cli.encoded.entry import FORMAT, SUFFIX, Entry
from dycoke_cli.encoded.look import Look
from dycoke_cli.fingerprint import folder_fingerprint
from dycoke_cli.video.frames import READING
from dycoke_cli.video.guard import read_frames
from dycoke_cli.video.piped import STDIN

if TYPE_CHECKING:
    from dycoke_cli.checkpoints import Checkpoint
    from dycoke_cli.settings import Settings
    from dycoke_cli.video.sampling import Sampling

GB = 10**9
ABANDONED_S = 3600.0  # a half-written file that nobody has touched for so long belongs to a process that is gone
# Settings that change nothing about what the vision tower makes of the frames, or that the choice of frames holds.
# Any other counts, so that one which is added later can never bring up another's features.
UNRELATED = {
    *("preset", "method", "options", "retain", "newline", "row_newlines", "model", "memory", "cache", "cache_size"),
    *("frames", "fps", "max_frames", "start", "end", "sample", "video_timeout"),
    *("max_new_tokens", "temperature", "top_p", "seed", "repetition_penalty"),
}


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

    def look(self, video: str, sampling: "Sampling", settings: "Settings", checkpoint: "Checkpoint") -> Look | None:
        """Prepare to look at a video in a certain way; None for what cannot be kept: a pipe, an unreadable file."""
        if video == STDIN:
            return None
        began = time.perf_counter()
        facts = {key: value for key, value in settings.model_dump().items() if key not in UNRELATED}
        # The ending of a file's name has a say in what decoders take it for.
        kind = {"rate": settings.fps} if os.path.isdir(video) else {"ending": _ending(video)}
        patterns = ("*.json", "*.safetensors", "merges.txt", "vocab.json")
        try:
            model = folder_fingerprint(checkpoint.folder, patterns)
            content, state = self.contents.of(video), self.contents.state(video)
        except OSError:
            return None
        made_by = {"format": FORMAT, "reading": READING, "version": __version__, "model": model}
        wanted = {**made_by, **kind, **asdict(sampling), **facts}
        decode = partial(read_frames, video, sampling, settings.decoder, settings.video_timeout, rate=settings.fps)
        look = Look(self, video, checkpoint.name, wanted, state, decode)
        look.find(content)
        look.seconds = time.perf_counter() - began
        return look

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


def _ending(video: str) -> str:
    """Give what FFmpeg, too, takes for the ending of a file's name: from its last dot on, in small letters."""
    _, dot, ending = os.path.basename(video).rpartition(".")
    return (dot and ending).lower()
