"""What is known of a video before its pictures are decoded: which frames are shown, and when."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dycoke_cli.video.orientation import Orientation


@dataclass(frozen=True, eq=False)
class Index:
    """The table of contents of one video stream, in the order in which frames are shown."""

    path: str  # absolute
    name: str  # as the messages call it
    container: str
    codec: str
    stream: int
    width: int  # as stored, before the orientation is applied
    height: int
    orientation: Orientation
    pts: npt.NDArray[np.int64]  # (frames,) rising, in the stream's time base
    keys: npt.NDArray[np.int64]  # (key frames,) rising, hidden ones included
    seconds: npt.NDArray[np.float64]  # (frames,) rising from 0
    duration_s: float  # from the first frame to the end of the last one
    promised: int  # frames there should be, by the header or by the packets
    promised_s: float  # how long the header says that the video is; 0 when it does not say
    damaged: bool  # packets are broken or missing
    exact: bool  # the packets tell all; otherwise only a full decode can
    seekable: bool  # a frame can be reached from the key frame before it
    doubt: str | None  # why decord would not be right here; None when it is
    places: npt.NDArray[np.int64] | None = None  # (frames,) their places among all that decode; None: by pts
    one_thread: bool = False  # frame threads would lose more of this damaged file
    warnings: tuple[str, ...] = ()

    @property
    def fps(self) -> float:
        """The average rate."""
        return len(self.seconds) / self.duration_s if self.duration_s > 0 else 0.0

    def scaled(self, max_pixels: int) -> tuple[int, int]:
        """The stored width and height, reduced in proportion to at most `max_pixels`."""
        if self.width * self.height <= max_pixels:
            return self.width, self.height
        scale = (max_pixels / (self.width * self.height)) ** 0.5
        return max(2, int(self.width * scale) // 2 * 2), max(2, int(self.height * scale) // 2 * 2)

    def key_before(self, pts: int) -> int:
        """The last key frame shown at or before a moment, from which everything up to it decodes."""
        return int(self.keys[max(0, int(np.searchsorted(self.keys, pts, side="right")) - 1)])


def shortfall(duration_s: float, promised_s: float) -> tuple[str, ...]:
    """Warns when a video ends well before the end that its header promises."""
    if promised_s - duration_s <= max(1.0, 0.05 * promised_s):
        return ()
    return (f"it ends at {duration_s:.2f} s of the {promised_s:.2f} s that its header promises",)
