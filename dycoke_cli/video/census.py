"""The frames that really decode, counted: the index of files whose packets do not tell."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dycoke_cli.errors import VideoError
from dycoke_cli.video.container import open_container, video_stream
from dycoke_cli.video.index import Index, shortfall
from dycoke_cli.video.pyav_reader import all_frames, use_threads

_MANY_MORE = 1.1  # times as many frames are worth a slower decoding; a few at a broken end are not


def count_frames(index: Index, beat: Callable[[], None]) -> Index:
    """Decodes the whole file and puts what is found in place of the index. Raises VideoError when nothing is."""
    # Where no header tells how long a video is, only a broken last picture tells that it was cut, and frame threads
    # do not always mark one.
    best = _Census.take(index, beat, many_threads=index.promised_s > 0)
    if best.errors and best.many_threads:  # frame threads may lose all that follows a damaged packet
        patient = _Census.take(index, beat, many_threads=False)
        if len(patient.times) > _MANY_MORE * len(best.times):
            best = patient
    found = len(best.times)
    if not found:
        raise VideoError(
            f"Not one frame of {index.name} can be decoded.", "Copy or download it again.", reason="no_frames"
        )
    places, seconds, step_s = _in_order(best.times, best.step_s, unique=len(index.pts) > 0)
    duration_s = float(seconds[-1] + step_s)
    if found < index.promised and (best.errors or index.damaged):
        lost: tuple[str, ...] = (f"only {found} of {index.promised} frames can be read",)
    else:
        lost = shortfall(duration_s, index.promised_s, found)
    if best.corrupt:
        lost += (f"damaged pictures: {best.corrupt} of {found}",)
    return replace(
        index,
        seconds=seconds,
        duration_s=duration_s,
        places=places,
        one_thread=not best.many_threads,
        losses=lost,
    )


@dataclass
class _Census:
    """What one decoding of the whole file gives."""

    many_threads: bool
    step_s: float = 0.04
    times: list[float | None] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    corrupt: int = 0

    @classmethod
    def take(cls, index: Index, beat: Callable[[], None], many_threads: bool) -> "_Census":
        census = cls(many_threads)
        with open_container(index.path, index.name) as container:
            stream = video_stream(container, index.name)
            use_threads(stream, many_threads)
            if stream.average_rate:
                census.step_s = 1 / float(stream.average_rate)
            for frame in all_frames(container, stream, beat, census.errors):
                census.times.append(frame.time)
                census.corrupt += frame.is_corrupt
        return census


def _in_order(
    times: list[float | None], step_s: float, unique: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], float]:
    """Orders frames by their times -> places (frames,), seconds (frames,) rising from 0, and how long a frame lasts.

    unique: each packet has a time of its own, so that the odd frame out of order is one decoded at the wrong moment.
    Otherwise a clock that jumps back starts anew, as in joined .ts files, and goes on from the last time. Where times
    are missing or more than 2 % of the steps go back, as in AVI with B-frames, the rate is all there is.
    """
    places = np.arange(len(times), dtype=np.int64)
    if None not in times and len(times) > 1:
        known = np.array(times, dtype=np.float64)
        steps = np.diff(known)
        if np.count_nonzero(steps <= 0) <= max(1, 0.02 * len(steps)) and np.any(steps > 0):
            if unique:
                places = np.argsort(known, kind="stable")
                steps = np.diff(known[places])
            usual = float(np.median(steps[steps > 0]))
            seconds: npt.NDArray[np.float64] = np.insert(np.where(steps > 0, steps, usual).cumsum(), 0, 0.0)
            return places, seconds, usual
    return places, np.asarray(places * step_s, dtype=np.float64), step_s
