"""A video in front of a model: its frames, and its visual tokens from the cache or the vision tower."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dycoke_cli.cache.lookup import Lookup
from dycoke_cli.video.clip import Clip
from dycoke_cli.video.frame_buffer import Pixels, part
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.pending_frames import PendingFrames, Progress
from dycoke_cli.video.sampling import Sampling

if TYPE_CHECKING:
    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.models.families.family import Family, Size
    from dycoke_cli.tokens import VisualTokens

WARM_UP_FRAMES = 4
TOGETHER = 16  # frames whose uncompressed tokens are in memory at once, rounded up to whole windows of a method

Notice = Callable[[str], None]


class Video:
    """A sampled video, from the request to its visual tokens.

    The frames come from a decoder, and may be used while later ones are still being decoded. Where the cache has the
    visual tokens, neither decoder nor vision tower runs; pixels are then decoded only if they are used.

    decode: start decoding. sampling: which frames were asked for. start, end: the window, as for `Clip`. lookup: the
    video's place in the cache, if it is to be read from there, or saved.
    """

    def __init__(
        self,
        decode: Callable[[], PendingFrames],
        sampling: Sampling,
        start: str | None = None,
        end: str | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self._decode, self.sampling, self._window, self._lookup = decode, sampling, (start, end), lookup
        self._pending = None if lookup is not None and lookup.entry is not None else decode()
        self._clip: Clip | None = None
        self._cached: VisualTokens | None = None  # on the host
        self._unsaved: tuple[VisualTokens, str] | None = None  # on the host, and the kind of device that computed them
        self._warnings: set[str] = set()

    @classmethod
    def of(cls, frames: Frames, start: str | None = None, end: str | None = None, decode_s: float = 0.0) -> "Video":
        """Make a video of decoded frames; decode_s: seconds that decoding them took."""
        pending = PendingFrames.completed(frames.info.path, frames, decode_s)
        return cls(lambda: pending, Sampling(frames=len(frames)), start, end)

    @property
    def size(self) -> "Size | None":
        """Height and width of the frames; None before the decoder has announced them."""
        if self._pending is not None:
            return self._pending.size
        assert self._lookup is not None
        assert self._lookup.entry is not None
        return self._lookup.entry.size

    def wait_until_opened(self, timeout_s: float) -> None:
        """Wait until the file is known to be a video, at most so long. Raises VideoError, UsageError."""
        if self._pending is not None:
            self._pending.wait_until_opened(timeout_s)

    def prepare(self, model: "Family", saliency: bool) -> None:
        """Read the visual tokens from the cache where this model can use them; start decoding otherwise.

        saliency: some method needs it.
        """
        if self._pending is not None:
            return
        assert self._lookup is not None
        loaded = self._lookup.load(model, saliency)
        if loaded is None:
            self._pending = self._decode()
            return
        self._cached, frames, seconds = loaded
        self._pending = PendingFrames.completed(frames.info.path, frames, seconds)

    @property
    def pending(self) -> PendingFrames:
        """The frames as a future, once decoder or cache has been asked for them."""
        assert self._pending is not None, "prepare() comes first"
        return self._pending

    @property
    def clip(self) -> Clip:
        """The frames in the window; their pixels may still be decoding. Raises VideoError, UsageError."""
        frames = self.pending.announced()
        if self._clip is None or self._clip.frames is not frames:
            self._clip = Clip.of(frames, *self._window)
        return self._clip

    @property
    def features(self) -> str:
        """Where the visual tokens come from: "cache" or "computed"."""
        return "computed" if self._cached is None else "cache"

    def wait(self, on_progress: Progress | None = None) -> None:
        """Wait until all frames are decoded, calling on_progress(done, total). Raises VideoError, UsageError."""
        self.pending.result(on_progress)

    def encode(self, model: "Family", on_progress: Progress | None, saliency: bool, notice: Notice) -> "VisualTokens":
        """Return the visual tokens of the whole video, on the model's device; saliency: with it, where it is computed.

        notice: is called with warnings about frames that replace others.
        """
        if self._cached is not None:
            return self._cached.to(model.language_model.device)
        tokens = self._encode(lambda pixels: model.encode(pixels, on_progress, saliency), notice)
        if self._lookup is not None:
            self._unsaved = tokens.to("cpu"), tokens.features.device.type
        return tokens

    def compress(
        self, model: "Family", method: "Callable[[], Method]", on_progress: Progress | None, notice: Notice
    ) -> "VisualTokens":
        """Return the visual tokens that a method leaves; without a cache the uncompressed ones never exist all at once.

        method: returns the method for the frames as they are announced now.
        """
        if self._lookup is not None:
            tokens = self.encode(model, on_progress, method().needs_saliency, notice)
            return method().compress(tokens)  # asked again: the frames may have been replaced
        return self._encode(lambda pixels: encode_compressed(model, pixels, method(), on_progress), notice)

    def compress_few(self, model: "Family", method: "Method") -> "VisualTokens":
        """Return what a method leaves of the first WARM_UP_FRAMES frames."""
        if self._cached is None:
            return encode_compressed(model, self.clip.frames.pixels[:WARM_UP_FRAMES], method)
        few = self._cached.first(-(-WARM_UP_FRAMES // model.frames_per_patch))
        return method.compress(few.to(model.language_model.device))

    def _encode(self, encode: "Callable[[Pixels], VisualTokens]", notice: Notice) -> "VisualTokens":
        """Encode the frames as they are decoded; encode those of another decoder if it had to replace the first."""
        self.pending.announced()  # the first attempt counts from here
        while True:
            attempt = self.pending.attempt
            tokens = encode(self.clip.frames.pixels)
            if self.pending.attempt == attempt:
                return tokens
            self.warn(notice)

    def warn(self, notice: Notice) -> None:
        """Pass on the decoder's warnings, each once."""
        for warning in self.clip.frames.info.warnings:
            if warning not in self._warnings:
                self._warnings.add(warning)
                notice(warning)

    def save(self, notice: Notice) -> None:
        """Save visual tokens that `encode` computed in the cache; notice: is called with the reason if that fails."""
        unsaved, self._unsaved = self._unsaved, None
        if unsaved is None or self._lookup is None:
            return
        if (failure := self._lookup.save(*unsaved, self.pending.result())) is not None:
            notice(failure)


def encode_compressed(
    model: "Family", frames: Pixels, method: "Method", on_progress: Progress | None = None
) -> "VisualTokens":
    """Encode frames and compress their tokens, a few windows of the method at a time if it works in windows.

    Equal to compressing the whole video at once. Frames that are not decoded yet are waited for when the vision tower
    needs them.
    """
    from dycoke_cli.tokens import VisualTokens  # imports torch

    total, window = len(frames), method.window
    if window is None:
        return method.compress(model.encode(frames, on_progress, method.needs_saliency))
    window *= model.frames_per_patch
    together, parts = -(-TOGETHER // window) * window, []
    for start in range(0, total, together):

        def report(done: int, of: int, start: int = start) -> None:
            if on_progress is not None:
                on_progress(start + done, total)

        tokens = model.encode(part(frames, start, start + together), report, method.needs_saliency, of=total)
        parts.append(method.compress(tokens))
    return parts[0] if len(parts) == 1 else VisualTokens.concatenate(parts)
