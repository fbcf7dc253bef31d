"""When frames are shown, by the times that a container gives them: in order, and without the jumps of a new clock."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The longest hole of a broadcast that is kept as time in which nothing is shown: ffmpeg's own `dts_delta_threshold`.
# Lost reception, a scratch, a segment that was not fetched are mostly shorter; a recorder that is set anew lands
# anywhere within 26 hours, and nothing in the file tells the two apart.
LONGEST_HOLE_S = 10.0
_BROADCAST = {"mpegts", "mpeg"}  # clocks may be set anew within a file of these; elsewhere each pause is meant
_STORED = _BROADCAST | {"mp4", "matroska", "flv"}  # the time of each frame is in the file, not made up from a rate
_REORDERED = 16  # frames that a decoder holds back at most
_PAUSE_S, _PAUSE_STEPS = 1.0, 5  # a pause longer than both is a hole, where frames may be missing at all
_NAMED = 3  # so many holes are named


@dataclass(frozen=True, eq=False)
class Timestamps:
    """The moments of frames, and what is odd about them."""

    places: npt.NDArray[np.int64]  # (frames,) where each shown frame stands among those that were given
    seconds: npt.NDArray[np.float64]  # (frames,) rising from 0
    step_s: float  # how long a frame usually lasts
    skipped_s: float = 0.0  # taken out of the times, as a clock was set ahead
    notes: tuple[str, ...] = ()  # what was taken out, one line each

    @classmethod
    def of_frames(cls, times: list[float | None], step_s: float, container: str, one_clock: bool) -> "Timestamps":
        """Orders frames as they come out of a decoder by their times.

        step_s: by the rate, for frames without a time. one_clock: the times of the packets never jump back, so that a
        frame out of order is one decoded at the wrong moment, as happens behind a hole; otherwise a clock may start
        anew, as in joined .ts files, and goes on from the last time. Where the container stores no times and some are
        missing or more than 2 % of the steps go back, as in AVI with B-frames, the rate is all there is.
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
        clocks = [places] if one_clock else np.split(places, list(_starts_anew(known)))
        places = np.concatenate([clock[np.argsort(known[clock], kind="stable")] for clock in clocks])
        steps = np.diff(known[places])
        usual = float(np.median(steps[steps > 0]))
        seconds: npt.NDArray[np.float64] = np.insert(np.where(steps > 0, steps, usual).cumsum(), 0, 0.0)
        return cls(places, seconds, usual).without_jumps(container)

    @classmethod
    def of_index(cls, seconds: npt.NDArray[np.float64], container: str) -> "Timestamps":
        """Takes the times of an index, (frames,) rising from 0, as they are but for a clock that was set ahead."""
        usual = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
        return cls(np.arange(len(seconds), dtype=np.int64), seconds, usual).without_jumps(container)

    def without_jumps(self, container: str) -> "Timestamps":
        """Lets the time go on where the clock of a broadcast was set ahead."""
        steps = np.diff(self.seconds)
        ahead = np.flatnonzero(steps > max(LONGEST_HOLE_S, _PAUSE_STEPS * self.step_s))
        if container not in _BROADCAST or not len(ahead):
            return self
        skipped = np.zeros(len(self.seconds))
        skipped[ahead + 1] = steps[ahead] - self.step_s
        seconds = self.seconds - skipped.cumsum()
        notes = tuple(
            f"its clock jumps ahead by {steps[place]:.1f} s at {seconds[place]:.2f} s: taken for one that was set anew"
            for place in ahead[:_NAMED]
        )
        return Timestamps(self.places, seconds, self.step_s, float(skipped.sum()), notes)

    def holes(self, container: str, damaged: bool) -> tuple[str, ...]:
        """Names the spans in which frames are missing: those of a broadcast, or of any file known to be damaged."""
        steps = np.diff(self.seconds)
        found = np.flatnonzero(steps > max(_PAUSE_S, _PAUSE_STEPS * self.step_s))
        if not len(found) or not (damaged or container in _BROADCAST):
            return ()
        spans = [
            f"{self.seconds[place] + self.step_s:.2f} s to {self.seconds[place + 1]:.2f} s" for place in found[:_NAMED]
        ]
        return (f"nothing is there from {', '.join(spans)}{', ...' if len(found) > _NAMED else ''}",)


def _filled(times: list[float | None], step_s: float) -> npt.NDArray[np.float64]:
    """Gives a frame without a time the moment after the frame before it, (frames,)."""
    first = next(place for place, time in enumerate(times) if time is not None)
    last = (times[first] or 0.0) - (first + 1) * step_s
    known = np.empty(len(times))
    for place, time in enumerate(times):
        known[place] = last = last + step_s if time is None else time
    return known


def _starts_anew(known: npt.NDArray[np.float64]) -> Iterator[int]:
    """Yields the places at which times fall behind those before; near a hole, only where they stay there.

    A decoder that waits for frames of a hole gives the last ones from before it among those from behind it.
    """
    steps = np.diff(known)
    hole_s = _PAUSE_STEPS * float(np.median(steps[steps > 0]))
    top, hole, late = float(known[0]), -_REORDERED, 0
    for place, time in enumerate(known.tolist()):
        if time >= top:
            hole = place if time - top > hole_s else hole
            top, late = time, 0
            continue
        late += 1
        first = place + 1 - late
        if late > _REORDERED or first - hole > _REORDERED:
            yield first
            top, hole, late = max(known[first : place + 1]), -_REORDERED, 0
