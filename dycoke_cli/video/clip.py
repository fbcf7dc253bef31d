"""The part of a video that a model is shown."""

from dataclasses import dataclass

from dycoke_cli.video.frames import Frames
from dycoke_cli.video.sampling import parse_time


@dataclass(frozen=True)
class Clip:
    """The sampled frames of a window of a video, with times that count from the start of the window."""

    frames: Frames
    seconds: tuple[float, ...]  # (frames,)
    duration_s: float  # of the window

    @classmethod
    def of(cls, frames: Frames, start: str | None = None, end: str | None = None) -> "Clip":
        """Cut frames at the window from `start` to `end`, written as for `parse_time`; None: of the whole video."""
        start_s = parse_time(start) if start is not None else 0.0
        end_s = min(parse_time(end), frames.info.duration_s) if end is not None else frames.info.duration_s
        return cls(frames, tuple(second - start_s for second in frames.seconds), end_s - start_s)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        _, height, width, _ = self.frames.pixels.shape
        return height, width
