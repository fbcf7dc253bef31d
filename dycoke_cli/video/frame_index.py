"""The frames of a video or image sequence before they are decoded: times, size, and the index of a video stream."""

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


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameIndex(FrameList):
    """The frames of one video stream in display order, with what decoders need to find each."""

    path: str  # absolute
    container: str
    codec: str
    stored_width: int  # before pixels are made square, which changes the width alone
    pts: npt.NDArray[np.int64]  # (frames,) rising, in the time base of the stream
    keys: npt.NDArray[np.int64]  # (key frames,) pts, rising, with those that an edit list hides
    expected_frames: int  # by the header or by the packets
    header_duration_s: float  # 0: not in the header
    damaged: bool  # packets are broken or missing
    monotonic_dts: bool  # packet times never go back, as they do in joined .ts files
    exact: bool  # the packets describe every frame; otherwise only a full decode does
    seekable: bool  # each frame can be decoded from the key frame before it
    decord_risk: str | None  # why decord could return wrong frames; None: it is safe
    places: npt.NDArray[np.int64] | None = None  # (frames,) among all decoded frames; None: find frames by pts
    one_thread: bool = False  # frame threads would lose more frames of this damaged file

    def key_before(self, pts: int) -> int:
        """Return the pts of the last key frame at or before `pts`, from which a decoder can start."""
        return int(self.keys[max(0, int(np.searchsorted(self.keys, pts, side="right")) - 1)])

    def decoded_for(self, chosen: npt.NDArray[np.int64]) -> int:
        """Return how many frames have to be decoded for these: from key frames, or on from the previous chosen one.

        chosen: (frames,) rising places.
        """
        keys = np.searchsorted(self.pts, [self.key_before(pts) for pts in self.pts[chosen].tolist()])
        before = np.insert(chosen[:-1], 0, -1)
        return int((chosen - np.maximum(keys - 1, before)).sum())


def shortfall(duration_s: float, header_duration_s: float, frames: int) -> tuple[str, ...]:
    """Return a warning if a video is shorter than its header states by more than rounding, else ()."""
    step_s = duration_s / max(1, frames)
    if header_duration_s - duration_s <= max(0.3, 1.5 * step_s, 0.01 * header_duration_s):
        return ()
    return (f"it ends at {duration_s:.2f} s, before the {header_duration_s:.2f} s that its header states",)
