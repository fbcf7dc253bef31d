"""The sampled frames of a video: pixels, places, timestamps, and facts about the file."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

THUMBNAIL_SIDE = 240  # pixels of the longer side of a thumbnail, at most
READING = 2  # part of the cache key; raised when the readers return other frames or times for the same file
FramePixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB, upright


@dataclass(frozen=True)
class VideoInfo:
    """Facts about a video file, from its container and decoder."""

    path: str
    duration_s: float  # from the first shown frame to the end of the last one
    fps: float  # average rate over the whole file
    frames_total: int  # frames really shown, edit lists applied
    width: int
    height: int
    decoder: str  # "decord", "pyav" or "pillow"
    decoder_reason: str  # why this one, in a few words
    hdr: str | None = None  # "hlg" or "pq": shown as ordinary video shows it; None: ordinary video
    damaged: bool = False  # frames are missing or broken; the warnings say which
    warnings: tuple[str, ...] = ()  # one line each, for stderr

    def as_json(self) -> dict[str, Any]:
        """Return the keys of `video` in `ask --json`, without the sampled frames."""
        return {
            "path": self.path,
            "duration_s": self.duration_s,
            "fps": self.fps,
            "frames_total": self.frames_total,
            "width": self.width,
            "height": self.height,
            "hdr": self.hdr,
            "decoder": self.decoder,
            "decoder_reason": self.decoder_reason,
            "damaged": self.damaged,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Frames:
    """The sampled frames of one video, in the order in which they are shown."""

    pixels: Any  # (frames, height, width, 3) uint8 RGB: an array, or a FrameBuffer while frames are being decoded
    indices: tuple[int, ...]  # (frames,) place in display order, from 0
    seconds: tuple[float, ...]  # (frames,) time since the first shown frame of the file
    info: VideoInfo
    small: npt.NDArray[np.uint8] | None = None  # (frames, height, width, 3) thumbnails, if known

    def __len__(self) -> int:
        return len(self.indices)

    def thumbnail(self, place: int) -> FramePixels:
        """Return the thumbnail of one frame; the cache keeps it too, so it is the same with and without.

        It fits THUMBNAIL_SIDE x THUMBNAIL_SIDE pixels; a smaller frame is unchanged.
        """
        if self.small is not None:
            return self.small[place]
        from PIL import Image  # 0.1 s, and most runs need no thumbnails

        image = Image.fromarray(self.pixels[place])
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return np.asarray(image)
