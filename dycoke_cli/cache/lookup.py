"""One video in the cache: found by its content and by all that decides its visual tokens, read, and saved."""

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dycoke_cli import __version__
from dycoke_cli.cache.entry import FORMAT, Entry, kept_tensors, write_entry
from dycoke_cli.cache.fingerprint import folder_fingerprint
from dycoke_cli.cache.store import Cache
from dycoke_cli.errors import VideoError
from dycoke_cli.video.frames import READING, Frames
from dycoke_cli.video.reader import read_frames
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.source import quoted_path
from dycoke_cli.video.stdin import STDIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from dycoke_cli.config.settings import Settings
    from dycoke_cli.models.checkpoints import Checkpoint
    from dycoke_cli.models.families.family import Family
    from dycoke_cli.tokens import VisualTokens

# Settings that do not change what the vision tower makes of the frames, or that the sampling contains. All others are
# part of the key, so that a setting added later cannot return visual tokens made with another value of it.
UNRELATED = {
    *("preset", "method", "options", "retain", "newline", "row_newlines", "model", "memory", "cache", "cache_size"),
    *("frames", "fps", "max_frames", "start", "end", "sample", "video_timeout"),
    *("max_new_tokens", "temperature", "top_p", "seed", "repetition_penalty"),
}


@dataclass(frozen=True)
class Lookup:
    """The place of one video in the cache, and the entry there, if any."""

    cache: Cache
    video: str  # the path that was asked for
    model: str  # its name
    key: dict[str, Any]  # all that decides the visual tokens, except for the video's content
    state: str  # changes when the file is written to
    decode: "Callable[[], Frames]"
    entry: Entry | None
    seconds: float  # that the search took

    def load(self, model: "Family", saliency: bool) -> "tuple[VisualTokens, Frames, float] | None":
        """Read the entry for a loaded model: tokens on the host, frames, seconds that it all took.

        saliency: some method needs it. None where the entry is damaged, lacks saliency, or was made on another kind of
        device or in another dtype. The pixels of the frames are decoded if they are used.
        """
        assert self.entry is not None
        began = time.perf_counter()
        if self.entry.head.get("device") != model.language_model.device.type:
            return None
        loaded = self.entry.load(self.video, self._decode_again)
        if loaded is None or loaded[0].features.dtype != model.language_model.dtype:
            return None
        if saliency and loaded[0].saliency is None:
            return None
        with suppress(OSError):
            os.utime(self.entry.path)  # the store removes what was not used for longest
        return *loaded, self.seconds + time.perf_counter() - began

    def _decode_again(self) -> npt.NDArray[np.uint8]:
        """Decode the frames of the entry. Raises VideoError, also where the file has other frames by now."""
        assert self.entry is not None
        frames = self.decode()
        video = self.entry.head["video"]
        if (list(frames.indices), list(frames.pixels.shape)) != (video["indices"], video["shape"]):
            raise VideoError(f"{quoted_path(self.video)} has been replaced since it was asked about.", "Ask again.")
        pixels: npt.NDArray[np.uint8] = frames.pixels
        return pixels

    def save(self, tokens: "VisualTokens", device: str, frames: Frames) -> str | None:
        """Write an entry; return a sentence for the user where that fails.

        tokens: of the whole video, on the host; device: the kind that computed them. Nothing is written where the entry
        would be larger than the cache, or the file was written to since it was looked up.
        """
        if sum(tensor.nbytes for tensor in kept_tensors(tokens).values()) > self.cache.limit:
            return None
        facts = {"path": os.path.abspath(self.video), "model": self.model, "device": device}
        try:
            if self.cache.contents.state(self.video) != self.state:
                return None
            content = self.cache.contents.of(self.video, whole=True)
            assert content is not None
            write_entry(self.cache.path(self.key, content, tokens.saliency is not None), tokens, frames, facts)
            self.cache.make_room()
        except OSError as error:
            return f"The encoded video could not be kept in {self.cache.folder}: {error.strerror or error}"
        return None


def look_up(
    cache: Cache | None, video: str, sampling: Sampling, settings: "Settings", checkpoint: "Checkpoint"
) -> Lookup | None:
    """Search a cache for a video, sampled and encoded as the settings ask for.

    None without a cache, and for what cannot be cached: stdin, a file that cannot be read.
    """
    if cache is None or video == STDIN:
        return None
    began = time.perf_counter()
    related = {key: value for key, value in settings.model_dump().items() if key not in UNRELATED}
    # FFmpeg chooses a demuxer by the extension too.
    kind = {"rate": settings.fps} if os.path.isdir(video) else {"ending": _extension(video)}
    patterns = ("*.json", "*.safetensors", "merges.txt", "vocab.json")
    try:
        model = folder_fingerprint(checkpoint.folder, patterns)
        content, state = cache.contents.of(video), cache.contents.state(video)
    except OSError:
        return None
    versions = {"format": FORMAT, "reading": READING, "version": __version__, "model": model}
    key = {**versions, **kind, **asdict(sampling), **related}
    decode = partial(read_frames, video, sampling, settings.decoder, settings.video_timeout, rate=settings.fps)
    entry = _find(cache, key, content)
    return Lookup(cache, video, checkpoint.name, key, state, decode, entry, time.perf_counter() - began)


def _find(cache: Cache, key: dict[str, Any], content: str | None) -> Entry | None:
    """Return the entry of a video; the one with saliency if there are two, as it serves every method."""
    if content is None:
        return None
    return Entry.at(cache.path(key, content, True)) or Entry.at(cache.path(key, content, False))


def _extension(video: str) -> str:
    """Return the extension of a file's name as FFmpeg finds it: after the last dot, in lower case."""
    _, dot, extension = os.path.basename(video).rpartition(".")
    return (dot and extension).lower()
