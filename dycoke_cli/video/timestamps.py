"""Turn the frame times of a container into rising timestamps from 0, without clock resets and jumps."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The longest gap of a broadcast that counts as missing frames; a longer one counts as a clock reset. It is ffmpeg's
# `dts_delta_threshold`. Lost reception, a scratch or a missing segment are mostly shorter; a reset clock starts
# anywhere within 26 hours, and nothing in the file distinguishes the two.
_MAX_GAP_S = 10.0
_BROADCAST = {"mpegts", "mpeg"}  # formats whose clock may be reset within a file; elsewhere each pause is intended
_STORED = _BROADCAST | {"mp4", "matroska", "flv"}  # formats that store a time per frame, instead of a rate
_REORDERED = 16  # the most frames that a decoder holds back
_MIN_GAP_S, _MIN_GAP_STEPS = 1.0, 5  # a longer pause than both is a gap
_MAX_NAMED = 3  # gaps and jumps named in a warning


@dataclass(frozen=True, eq=False)
class Timestamps:
    """The times of frames in display order, with warnings about clock jumps."""

    places: npt.NDArray[np.int64]  # (frames,) position of each displayed frame in the input
    seconds: npt.NDArray[np.float64]  # (frames,) rising from 0
    step_s: float  # usual duration of a frame: the median, or by the rate
    skipped_s: float = 0.0  # removed from the times at clock jumps
    notes: tuple[str, ...] = ()  # a warning for each removed jump

    @classmethod
    def of_frames(cls, times: list[float | None], step_s: float, container: str, monotonic_dts: bool) -> "Timestamps":
        """Order decoded frames by their times.

        times: seconds, in decoding order. step_s: by the rate, for frames without a time. monotonic_dts: packet times
        never go back, so that a frame out of order was decoded late, as happens after a gap; otherwise the clock may
        restart, as in joined .ts files, and continues from the last time. Times come from the rate alone where the
        container stores none and some are missing or more than 2 % of the steps go back, as in AVI with B-frames.
        """
        places = np.arange(len(times), dtype=np.int64)
        by_rate = cls(places, np.asarray(places * step_s, dtype=np.float64), step_s)
        if None in times and (container not in _STORED or not any(times)):
            return by_rate
        known = _filled(times, step_s)
        steps = np.diff(known)
        if not np.any(steps > 0):
            return by_rate
        if container not in _STORED and np.count_nonzero(steps <= 0) > max(1, 0.02 * len(steps)):
            return by_rate
        clocks = [places] if monotonic_dts else np.split(places, list(_clock_restarts(known)))
        places = np.concatenate([clock[np.argsort(known[clock], kind="stable")] for clock in clocks])
        steps = np.diff(known[places])
        usual = float(np.median(steps[steps > 0]))
        seconds: npt.NDArray[np.float64] = np.insert(np.where(steps > 0, steps, usual).cumsum(), 0, 0.0)
        return cls(places, seconds, usual).without_jumps(container)

    @classmethod
    def of_index(cls, seconds: npt.NDArray[np.float64], container: str) -> "Timestamps":
        """Keep the times of an index, (frames,) rising from 0, except for clock jumps."""
        usual = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
        return cls(np.arange(len(seconds), dtype=np.int64), seconds, usual).without_jumps(container)

    def without_jumps(self, container: str) -> "Timestamps":
        """Return the timestamps of a broadcast without forward jumps of its clock."""
        steps = np.diff(self.seconds)
        ahead = np.flatnonzero(steps > max(_MAX_GAP_S, _MIN_GAP_STEPS * self.step_s))
        if container not in _BROADCAST or not len(ahead):
            return self
        skipped = np.zeros(len(self.seconds))
        skipped[ahead + 1] = steps[ahead] - self.step_s
        seconds = self.seconds - skipped.cumsum()
        notes = tuple(
            f"its clock jumps ahead by {steps[place]:.1f} s at {seconds[place]:.2f} s: the jump is not counted as time"
            for place in ahead[:_MAX_NAMED]
        )
        return Timestamps(self.places, seconds, self.step_s, float(skipped.sum()), notes)

    def gaps(self, container: str, damaged: bool) -> tuple[str, ...]:
        """Return a warning that names the spans without frames, of a broadcast or of a damaged file, else ()."""
        steps = np.diff(self.seconds)
        found = np.flatnonzero(steps > max(_MIN_GAP_S, _MIN_GAP_STEPS * self.step_s))
        if not len(found) or not (damaged or container in _BROADCAST):
            return ()
        spans = [
            f"{self.seconds[place] + self.step_s:.2f} s to {self.seconds[place + 1]:.2f} s"
            for place in found[:_MAX_NAMED]
        ]
        return (f"no frames from {', '.join(spans)}{', ...' if len(found) > _MAX_NAMED else ''}",)


def _filled(times: list[float | None], step_s: float) -> npt.NDArray[np.float64]:
    """Fill in missing times, (frames,): one step after the frame before."""
    first = next(place for place, time in enumerate(times) if time is not None)
    last = (times[first] or 0.0) - (first + 1) * step_s
    known = np.empty(len(times))
    for place, time in enumerate(times):
        known[place] = last = last + step_s if time is None else time
    return known


def _clock_restarts(known: npt.NDArray[np.float64]) -> Iterator[int]:
    """Yield the places at which the clock restarts: times fall back and, near a gap, stay back.

    A decoder that waits for the missing frames of a gap returns the last frames before it among those after it.
    """
    steps = np.diff(known)
    gap_s = _MIN_GAP_STEPS * float(np.median(steps[steps > 0]))
    top, gap, late = float(known[0]), -_REORDERED, 0
    for place, time in enumerate(known.tolist()):
        if time >= top:
            gap = place if time - top > gap_s else gap
            top, late = time, 0
            continue
        late += 1
        first = place + 1 - late
        if late > _REORDERED or first - gap > _REORDERED:
            yield first
            top, gap, late = max(known[first : place + 1]), -_REORDERED, 0
