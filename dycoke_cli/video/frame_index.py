"""The index of a video stream: timestamps, key frames and how to reach each frame, read without decoding it all."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dycoke_cli.video.frame_list import FrameList


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
