"""Choose the frames of a video that the model sees, from the times of all its frames; parse times."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dycoke_cli.errors import UsageError, VideoError

# Matroska stores times in milliseconds: in such a file, equal steps at 30 frames per second differ by up to this much.
_CLOCK_S = 1e-3 + 1e-6

Spacing = Literal["time", "index"]

Indices = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


def parse_time(text: str) -> float:
    """Parse `90`, `1:30` or `0:01:30.5` to seconds. Raise UsageError."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time.", "Write seconds or clock time: 90, 1:30 or 0:01:30.5.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if (match[2] is not None and seconds >= 60) or (match[1] is not None and minutes >= 60):
        raise UsageError(f"{text!r} has 60 or more in a place of the clock.", "Write 90 or 1:30, not 0:90.")
    return 3600 * hours + 60 * minutes + seconds


@dataclass(frozen=True)
class Sampling:
    """How many frames to take, and from which window of the video. Raises UsageError for impossible values.

    frames: this many, evenly spaced; fps: one every 1/fps seconds; with neither, all frames. A choice of more than
    `max_frames` becomes `max_frames` evenly spaced ones, as in LLaVA-Video. The window is start_s <= time < end_s.
    sample: even spacing in time or, as in LLaVA, in frame count; both are the same at a constant rate.
    Instead of all this, `places` lists frames by place from 0, and `moments_s` by the times at which they are shown.
    """

    frames: int | None = None
    fps: float | None = None
    max_frames: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    sample: Spacing = "time"
    places: Sequence[int] | None = None
    moments_s: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.fps is not None:
            raise UsageError(
                f"{self.frames} frames and {self.fps:g} frames a second exclude each other.", "Give one of the two."
            )
        for name in ("frames", "max_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}.", "Take at least one frame.")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise UsageError(f"fps is {self.fps}.", "Give a number above zero, such as 1 or 0.5.")
        if self.places is not None and self.moments_s is not None:
            raise UsageError("places and moments_s exclude each other.", "Give one of the two.")
        if any(not place >= 0 for place in (*(self.places or ()), *(self.moments_s or ()))):
            raise UsageError("A place or moment is below 0.", "Count from the first frame.")
        if self.sample not in ("time", "index"):
            raise UsageError(f"sample is {self.sample!r}.", "Choose time or index.")
        for name in ("start_s", "end_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} is {value}.", "Give the seconds since the first frame.")

    def choose(self, seconds: Seconds, duration_s: float) -> Indices:
        """Choose frames by their times.

        seconds: (frames,) rising from 0; returns (chosen,) rising indices into it, each at most once.
        Raise VideoError with reason `window` if the window or a requested frame lies outside the video.
        """
        if self.places is not None or self.moments_s is not None:
            return self._requested(seconds, duration_s)
        window = self._window(seconds, duration_s)
        if self.fps is not None:
            wanted = self._every(seconds[window], 1 / self.fps)
        else:
            wanted = self._evenly(seconds[window], self.frames or len(window))
        if self.max_frames is not None and len(wanted) > self.max_frames:
            wanted = self._evenly(seconds[window], self.max_frames)
        return window[wanted]

    def _requested(self, seconds: Seconds, duration_s: float) -> Indices:
        """Return the frames listed by `places` or `moments_s`."""
        places = np.unique(np.asarray(self.places or (), dtype=np.int64))
        moments = np.asarray(self.moments_s or (), dtype=np.float64)
        shown = np.unique(np.searchsorted(seconds, moments + 1e-6, side="right") - 1)
        found = places if self.places is not None else shown.clip(0)
        if not len(found) or found[-1] >= len(seconds) or moments.max(initial=0) > max(duration_s, seconds[-1]):
            raise VideoError(
                f"Some requested frames do not exist: the video has {len(seconds)} in {duration_s:.2f} s.",
                "Request other frames.",
                reason="window",
            )
        return found

    def _window(self, seconds: Seconds, duration_s: float) -> Indices:
        """Return the frames of the window, at least one."""
        start = 0.0 if self.start_s is None else self.start_s
        end = math.inf if self.end_s is None else self.end_s
        window = f"{start:g} s to {'the end' if self.end_s is None else f'{end:g} s'}"
        if start >= end:
            raise VideoError(
                f"The window {window} is empty; the video lasts {duration_s:.2f} s.",
                "Choose an end after the start.",
                reason="window",
            )
        if start >= duration_s and len(seconds) and start > seconds[-1]:
            raise VideoError(
                f"The window {window} lies outside the video, which lasts {duration_s:.2f} s.",
                f"Choose a start below {duration_s:.2f} s.",
                reason="window",
            )
        inside = np.flatnonzero((seconds >= start - 1e-6) & (seconds < end - 1e-6))
        # In a window between two frames, the last frame before it is on display.
        return inside if len(inside) else np.searchsorted(seconds, [start], side="right") - 1

    def _evenly(self, seconds: Seconds, count: int) -> Indices:
        """Return `count` frames evenly spaced in time or count, or all if there are fewer."""
        total = len(seconds)
        count = min(count, total)
        steps = np.diff(seconds)
        if total < 3 or self.sample == "index" or np.ptp(steps) <= _CLOCK_S:
            return np.linspace(0, total - 1, count, dtype=int)  # as in LLaVA's code
        if count == 1:
            return np.zeros(1, dtype=int)
        moments = np.linspace(seconds[0], seconds[-1], count)
        chosen = np.unique(np.searchsorted(seconds, moments + 1e-6, side="right") - 1)
        # Moments in a long pause share one frame; the rest of `count` is taken evenly from the other frames.
        free = np.setdiff1d(np.arange(total), chosen)
        spare = np.linspace(0, len(free) - 1, count - len(chosen), dtype=int)
        return np.union1d(chosen, free[spare])

    def _every(self, seconds: Seconds, step_s: float) -> Indices:
        """Return the frames on display every `step_s` seconds, each at most once."""
        if self.sample == "index":
            rate = (len(seconds) - 1) / (seconds[-1] - seconds[0]) if len(seconds) > 1 else 1.0
            return np.arange(0, len(seconds), max(1, round(rate * step_s)))  # as in LLaVA's code
        start = seconds[0] if self.start_s is None else self.start_s
        count = max(0, math.floor((seconds[-1] + _CLOCK_S - start) / step_s)) + 1
        if count > 64 * len(seconds):  # steps far below one frame: every frame is taken
            return np.arange(len(seconds))
        moments = start + step_s * np.arange(count)
        chosen = np.searchsorted(seconds, moments + _CLOCK_S, side="right") - 1
        return np.unique(chosen.clip(0))
