"""Frames by decord: only on files that the probe holds safe, and held against the packets and against PyAV."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.video import pyav_reader
from dycoke_cli.video.frame_index import FrameIndex
from dycoke_cli.video.frames import Picture

_TOLERANCE_S = 2e-3
_SAME_PICTURE = 5  # mean difference of 255: two versions of FFmpeg differ by up to 3.6 on 10-bit video, else by 0.7


class DecordRefutedError(Exception):
    """decord fails, or what it says differs from what the file says; the text completes "decord ..."."""


def pictures(
    index: FrameIndex, chosen: npt.NDArray[np.int64], size: tuple[int, int], beat: Callable[[], None]
) -> Iterator[Picture]:
    """Yields the upright pictures of `chosen`, calling `beat` before each. Raises DecordRefutedError, even at the end.

    chosen: (frames,) rising places in the index; size: width and height to scale to, before the orientation.
    """
    checked = _cheapest(index, chosen)
    kept: list[Picture] = []
    try:
        width, height = size[::-1] if index.orientation.transpose else size
        scaled = {} if size == (index.stored_width, index.height) else {"width": width, "height": height}
        reader = _open(index, scaled, beat)
        _check_times(reader, index, chosen)
        for place in chosen.tolist():
            beat()
            picture = reader.get_batch([place]).asnumpy()[0]
            if picture.shape != (height, width, 3):
                raise DecordRefutedError(f"gave {picture.shape} instead of {width}x{height}")
            if place in checked:
                kept.append(picture)
            yield picture
        del reader  # it decodes ahead without bound as long as it lives
    except DecordRefutedError:
        raise
    except Exception as error:  # its errors share no base class
        raise DecordRefutedError(f"failed: {_reason(error, index.path)}") from None
    try:
        for ours, theirs in zip(kept, pyav_reader.pictures(index, checked, size, beat), strict=True):
            if np.abs(ours.astype(np.int16) - theirs).mean() > _SAME_PICTURE:
                raise DecordRefutedError("gave another picture than PyAV")
    except pyav_reader.IndexRefutedError:
        raise DecordRefutedError("was not confirmed by PyAV") from None


def refusal(path: str) -> str:
    """Asks decord for the first frame of a file in which PyAV finds none -> what it says instead."""
    try:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1).next()
    except ImportError:
        return "it is not installed"
    except Exception as error:
        return _reason(error, path)
    return "it shows something that nothing confirms"


def slowest_step(index: FrameIndex) -> int:
    """How many frames decord may have to decode before it gives one: the longest way from key frame to key frame."""
    places = np.searchsorted(index.pts, index.keys)
    return int(np.diff(places, append=len(index.pts)).max(initial=1))


def _open(index: FrameIndex, scaled: dict[str, int], beat: Callable[[], None]) -> Any:
    import decord  # 0.1 s, and only files that need it pay

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(index.path, ctx=decord.cpu(0), num_threads=1, **scaled)
    beat()
    if len(reader) != len(index.pts):
        raise DecordRefutedError(f"counts {len(reader)} frames where the file has {len(index.pts)}")
    reader.next()  # x264 writes into the first frame what the decoding of 4:4:4 needs
    return reader


def _check_times(reader: Any, index: FrameIndex, chosen: npt.NDArray[np.int64]) -> None:
    starts = np.asarray(reader.get_frame_timestamp([0, *chosen.tolist()]), dtype=np.float64)[:, 0]
    wrong = np.abs(starts[1:] - starts[0] - index.seconds[chosen])
    # decord gives float32, which is coarse after some hours.
    if np.any(wrong > _TOLERANCE_S + starts[1:] * float(np.finfo(np.float32).eps)):
        raise DecordRefutedError(f"is {wrong.max():.3f} s off in time")


def _reason(error: Exception, path: str) -> str:
    """The one telling line of what decord says: without the time, its source file and a trace of its stack."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = re.sub(r"^.*\.cc:\d+: (Check failed: .* vs\. .*?\) )?", "", line).replace(path, "the file")
    return "".join(letter for letter in line if letter.isprintable())[:120].strip(" .")


def _cheapest(index: FrameIndex, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One early and one late frame to decode again, (checked,) rising: those nearest behind their key frames.

    A late one, because decord counts on from where it was and what it once miscounts stays.
    """
    keys = np.array([index.key_before(pts) for pts in index.pts[chosen].tolist()])
    cost = chosen - np.searchsorted(index.pts, keys)
    halves = np.array_split(np.arange(len(chosen)), 2)
    return np.array([chosen[half[np.argmin(cost[half])]] for half in halves if len(half)])
