"""One look at one video: found in the cache, or made and then kept there."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
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
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.reader import read_frames
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.source import shown
from dycoke_cli.video.stdin import STDIN

if TYPE_CHECKING:
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.models.checkpoints import Checkpoint
    from dycoke_cli.models.families.family import Family
    from dycoke_cli.tokens import VisualTokens


# Settings that change nothing about what the vision tower makes of the frames, or that the choice of frames holds.
# Any other counts, so that one which is added later can never bring up another's features.
UNRELATED = {
    *("preset", "method", "options", "retain", "newline", "row_newlines", "model", "memory", "cache", "cache_size"),
    *("frames", "fps", "max_frames", "start", "end", "sample", "video_timeout"),
    *("max_new_tokens", "temperature", "top_p", "seed", "repetition_penalty"),
}


class Look:
    """What is wanted of a video, and what there is of it.

    video: as it is asked for. wanted: everything but the video's content that decides what its features are. state:
    what would be another, had somebody written to the video since. decode: reads its frames.
    """

    def __init__(
        self, cache: Cache, video: str, model: str, wanted: dict[str, Any], state: str, decode: Callable[[], Frames]
    ) -> None:
        self.cache, self.video, self.model, self.wanted, self.state = cache, video, model, wanted, state
        self.decode = decode
        self.entry: Entry | None = None
        self.seconds = 0.0  # spent on finding and reading it
        self.tokens: VisualTokens | None = None  # read from the cache, on the host
        self.made: VisualTokens | None = None  # by the vision tower, on the host
        self.device = ""  # the kind that it was made on

    def find(self, content: str | None) -> None:
        """See what the cache has: with saliency if possible, which serves every method."""
        for saliency in (True, False):
            if content is not None and self.entry is None:
                self.entry = Entry.at(self.cache.path(self.wanted, content, saliency))

    def read(self, model: "Family", saliency: bool) -> PendingFrames | None:
        """Read what was found for a model that is loaded, and give its frames; None where it will not do.

        saliency: some method needs it.
        """
        assert self.entry is not None
        began = time.perf_counter()
        language_model = model.language_model
        same_device = self.entry.head.get("device") == language_model.device.type
        loaded = self.entry.load(self.video, self._pixels) if same_device else None
        if loaded is None or loaded[0].features.dtype != language_model.dtype:
            return None
        if saliency and loaded[0].saliency is None:
            return None
        self.tokens, frames = loaded
        with suppress(OSError):
            os.utime(self.entry.path)  # used now
        self.seconds += time.perf_counter() - began
        pending = PendingFrames(self.video, {})
        pending.come(frames)
        pending.arrive(frames)
        pending.seconds = self.seconds
        return pending

    def encode(self, model: "Family") -> "VisualTokens | None":
        """Give what was read, on the model's device; None where nothing was."""
        return None if self.tokens is None else self.tokens.to(model.language_model.device)

    def remember(self, tokens: "VisualTokens") -> None:
        """Hold what the vision tower made until there is time to `keep` it."""
        self.made = tokens.to("cpu")
        self.device = tokens.features.device.type

    def _pixels(self) -> npt.NDArray[np.uint8]:
        """Decode what was read from the cache. Raises VideoError, also where the file holds something else by now."""
        assert self.entry is not None
        frames = self.decode()
        video = self.entry.head["video"]
        if (list(frames.indices), list(frames.pixels.shape)) != (video["indices"], video["shape"]):
            raise VideoError(f"{shown(self.video)} has been replaced since it was asked about.", "Ask again.")
        pixels: npt.NDArray[np.uint8] = frames.pixels
        return pixels

    def keep(self, frames: Frames) -> str | None:
        """Write what was made; gives a sentence for the user where that fails."""
        made, self.made = self.made, None
        if made is None:
            return None
        if sum(tensor.nbytes for tensor in kept_tensors(made).values()) > self.cache.limit:
            return None
        facts = {"path": os.path.abspath(self.video), "model": self.model, "device": self.device}
        try:
            if self.cache.contents.state(self.video) != self.state:
                return None  # what was looked at is gone, and what is there now was not looked at
            content = self.cache.contents.of(self.video, whole=True)
            assert content is not None
            write_entry(self.cache.path(self.wanted, content, made.saliency is not None), made, frames, facts)
            self.cache.make_room()
        except OSError as error:
            return f"The encoded video could not be kept in {self.cache.folder}: {error.strerror or error}"
        return None


def look_up(
    cache: Cache, video: str, sampling: Sampling, settings: "Settings", checkpoint: "Checkpoint"
) -> Look | None:
    """Find what the cache has of a video, encoded as the settings say.

    None for what cannot be cached: stdin, a file that cannot be read.
    """
    if video == STDIN:
        return None
    began = time.perf_counter()
    facts = {key: value for key, value in settings.model_dump().items() if key not in UNRELATED}
    # The ending of a file's name has a say in what decoders take it for.
    kind = {"rate": settings.fps} if os.path.isdir(video) else {"ending": _ending(video)}
    patterns = ("*.json", "*.safetensors", "merges.txt", "vocab.json")
    try:
        model = folder_fingerprint(checkpoint.folder, patterns)
        content, state = cache.contents.of(video), cache.contents.state(video)
    except OSError:
        return None
    made_by = {"format": FORMAT, "reading": READING, "version": __version__, "model": model}
    wanted = {**made_by, **kind, **asdict(sampling), **facts}
    decode = partial(read_frames, video, sampling, settings.decoder, settings.video_timeout, rate=settings.fps)
    look = Look(cache, video, checkpoint.name, wanted, state, decode)
    look.find(content)
    look.seconds = time.perf_counter() - began
    return look


def _ending(video: str) -> str:
    """Give what FFmpeg, too, takes for the ending of a file's name: from its last dot on, in small letters."""
    _, dot, ending = os.path.basename(video).rpartition(".")
    return (dot and ending).lower()
