"""The part of a video that a model gets to see."""

from dataclasses import dataclass

from dycoke_cli.video.frame_buffer import ArrivingPixels
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.sampling import parse_time


@dataclass(frozen=True)
class Clip:
    """The sampled frames, and how the model is told about their times."""

    frames: Frames
    seconds: tuple[float, ...]  # of each frame, from the start of the sampled window
    duration_s: float  # of the window
    reading: PendingFrames | float  # what reading them took, in seconds, or who knows once they are here

    @classmethod
    def of(cls, frames: Frames, start: str | None, end: str | None, reading: PendingFrames | float) -> "Clip":
        """Look at the window from `start` to `end` of a video as a video of its own."""
        start_s = parse_time(start) if start is not None else 0.0
        end_s = min(parse_time(end), frames.info.duration_s) if end is not None else frames.info.duration_s
        return cls(frames, tuple(second - start_s for second in frames.seconds), end_s - start_s, reading)

    @property
    def decode_s(self) -> float:
        """How long the frames took to come, from the request to the last one, whatever else was done meanwhile."""
        return self.reading.seconds if isinstance(self.reading, PendingFrames) else self.reading

    @property
    def waited_s(self) -> float:
        """How long those who used the frames have waited for them."""
        return self.frames.pixels.waited_s if isinstance(self.frames.pixels, ArrivingPixels) else 0.0
