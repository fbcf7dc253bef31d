"""Decode frames with decord, for files without a decord risk, and verify them against the packets and PyAV."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.video import pyav_reader
from dycoke_cli.video.frame_index import FrameIndex
from dycoke_cli.video.frames import FramePixels

_TOLERANCE_S = 2e-3
_MAX_DIFFERENCE = 5  # mean, in levels of 255: two versions of FFmpeg differ by up to 3.6 on 10-bit video, else by 0.7


class DecordRefutedError(Exception):
    """decord failed, or contradicts the packets or PyAV; the text completes "decord ..."."""


def decode_frames(
    index: FrameIndex, chosen: npt.NDArray[np.int64], size: tuple[int, int], beat: Callable[[], None]
) -> Iterator[FramePixels]:
    """Yield the upright frames of `chosen`, calling `beat` before each. Raise DecordRefutedError, even after the last.

    chosen: (frames,) rising places in the index; size: width and height to scale to, before the orientation is applied.
    """
    checked = _frames_to_check(index, chosen)
    kept: list[FramePixels] = []
    try:
        width, height = size[::-1] if index.orientation.transpose else size
        scaled = {} if size == (index.stored_width, index.height) else {"width": width, "height": height}
        reader = _open(index, scaled, beat)
        _check_times(reader, index, chosen)
        for place in chosen.tolist():
            beat()
            frame = reader.get_batch([place]).asnumpy()[0]
            if frame.shape != (height, width, 3):
                raise DecordRefutedError(f"gave {frame.shape} instead of {width}x{height}")
            if place in checked:
                kept.append(frame)
            yield frame
        del reader  # while it exists, it decodes ahead without bound
    except DecordRefutedError:
        raise
    except Exception as error:  # decord's errors share no base class
        raise DecordRefutedError(f"failed: {_error_line(error, index.path)}") from None
    try:
        for ours, theirs in zip(kept, pyav_reader.decode_frames(index, checked, size, beat), strict=True):
            if np.abs(ours.astype(np.int16) - theirs).mean() > _MAX_DIFFERENCE:
                raise DecordRefutedError("gave another picture than PyAV")
    except pyav_reader.IndexRefutedError:
        raise DecordRefutedError("was not confirmed by PyAV") from None


def first_frame_error(path: str) -> str:
    """Return the error of decord for the first frame of a file in which PyAV finds none."""
    try:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1).next()
    except ImportError:
        return "it is not installed"
    except Exception as error:
        return _error_line(error, path)
    return "it decodes a frame that PyAV cannot confirm"


def slowest_step(index: FrameIndex) -> int:
    """Return the longest distance between key frames: the most frames decord has to decode to return one."""
    places = np.searchsorted(index.pts, index.keys)
    return int(np.diff(places, append=len(index.pts)).max(initial=1))


def _open(index: FrameIndex, scaled: dict[str, int], beat: Callable[[], None]) -> Any:
    """Open a file with decord. Raise DecordRefutedError if the number of frames differs from the index."""
    import decord  # 0.1 s, which only files decoded by it pay

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(index.path, ctx=decord.cpu(0), num_threads=1, **scaled)
    beat()
    if len(reader) != len(index.pts):
        raise DecordRefutedError(f"counts {len(reader)} frames where the file has {len(index.pts)}")
    reader.next()  # the first packet of x264 holds what the decoding of 4:4:4 needs
    return reader


def _check_times(reader: Any, index: FrameIndex, chosen: npt.NDArray[np.int64]) -> None:
    """Raise DecordRefutedError if the timestamps of decord differ from the index."""
    starts = np.asarray(reader.get_frame_timestamp([0, *chosen.tolist()]), dtype=np.float64)[:, 0]
    error_s = np.abs(starts[1:] - starts[0] - index.seconds[chosen])
    # decord returns float32, which is coarse after some hours.
    if np.any(error_s > _TOLERANCE_S + starts[1:] * float(np.finfo(np.float32).eps)):
        raise DecordRefutedError(f"is {error_s.max():.3f} s off in time")


def _error_line(error: Exception, path: str) -> str:
    """Return the first line of a decord error, without the time, source file and stack trace."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = re.sub(r"^.*\.cc:\d+: (Check failed: .* vs\. .*?\) )?", "", line).replace(path, "the file")
    return "".join(letter for letter in line if letter.isprintable())[:120].strip(" .")


def _frames_to_check(index: FrameIndex, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the places of one early and one late frame to decode again: those nearest behind their key frames.

    Returns (checked,) rising. The late one detects miscounted frames, as decord counts on from its last position.
    """
    keys = np.array([index.key_before(pts) for pts in index.pts[chosen].tolist()])
    cost = chosen - np.searchsorted(index.pts, keys)
    halves = np.array_split(np.arange(len(chosen)), 2)
    return np.array([chosen[half[np.argmin(cost[half])]] for half in halves if len(half)])
