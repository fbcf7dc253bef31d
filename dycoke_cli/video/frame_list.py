"""Times, size and orientation of the frames of a video or image sequence, for sampling and decoding."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dycoke_cli.video.hdr import Hdr
from dycoke_cli.video.orientation import Orientation


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameList:
    """The frames of one video in display order."""

    name: str  # in messages
    width: int  # of a frame with square pixels, before the orientation is applied
    height: int
    orientation: Orientation = field(default_factory=Orientation)
    seconds: npt.NDArray[np.float64]  # (frames,) rising from 0
    hdr: Hdr | None = None  # None: ordinary video
    duration_s: float  # from the first frame to the end of the last one
    losses: tuple[str, ...] = ()  # warnings about missing or damaged frames, one line each
    notes: tuple[str, ...] = ()  # other warnings, one line each

    @property
    def fps(self) -> float:
        """Average frames per second; 0 if the duration is 0."""
        return len(self.seconds) / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height after the orientation is applied."""
        return (self.height, self.width) if self.orientation.transpose else (self.width, self.height)

    def scaled(self, max_pixels: int) -> tuple[int, int]:
        """Return width and height, before the orientation is applied, scaled down to at most `max_pixels`."""
        if self.width * self.height <= max_pixels:
            return self.width, self.height
        scale = (max_pixels / (self.width * self.height)) ** 0.5
        return max(2, int(self.width * scale) // 2 * 2), max(2, int(self.height * scale) // 2 * 2)
