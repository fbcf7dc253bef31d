"""What is known of a video before its pictures are decoded: its frames, and the way to each."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dycoke_cli.video.frame_list import FrameList


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameIndex(FrameList):
    """The table of contents of one video stream, in the order in which frames are shown."""

    path: str  # absolute
    container: str
    codec: str
    stored_width: int  # where pixels are not square, another than the width; the heights are the same
    pts: npt.NDArray[np.int64]  # (frames,) rising, in the stream's time base
    keys: npt.NDArray[np.int64]  # (key frames,) rising, hidden ones included
    promised: int  # frames there should be, by the header or by the packets
    promised_s: float  # how long the header says that the video is; 0 when it does not say
    damaged: bool  # packets are broken or missing
    one_clock: bool  # the times of the packets never jump back
    exact: bool  # the packets tell all; otherwise only a full decode can
    seekable: bool  # a frame can be reached from the key frame before it
    doubt: str | None  # why decord would not be right here; None when it is
    places: npt.NDArray[np.int64] | None = None  # (frames,) their places among all that decode; None: by pts
    one_thread: bool = False  # frame threads would lose more of this damaged file

    def key_before(self, pts: int) -> int:
        """The last key frame shown at or before a moment, from which everything up to it decodes."""
        return int(self.keys[max(0, int(np.searchsorted(self.keys, pts, side="right")) - 1)])

    def decoded_for(self, chosen: npt.NDArray[np.int64]) -> int:
        """How many frames have to be decoded to show these: from key frames, or from the one shown before.

        chosen: (frames,) rising places.
        """
        keys = np.searchsorted(self.pts, [self.key_before(pts) for pts in self.pts[chosen].tolist()])
        before = np.insert(chosen[:-1], 0, -1)
        return int((chosen - np.maximum(keys - 1, before)).sum())


def shortfall(duration_s: float, promised_s: float, frames: int) -> tuple[str, ...]:
    """Says that a video ends before the end that its header promises, by more than rounding explains."""
    step_s = duration_s / max(1, frames)
    if promised_s - duration_s <= max(0.3, 1.5 * step_s, 0.01 * promised_s):
        return ()
    return (f"it ends at {duration_s:.2f} s of the {promised_s:.2f} s that its header promises",)
