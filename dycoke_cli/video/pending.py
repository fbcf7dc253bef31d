"""Frames on their way from the decoder process."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dycoke_cli.video.frames import Frames

Progress = Callable[[int, int], None]


@dataclass(eq=False)
class PendingFrames:
    """A promise of frames: the caller may load a model meanwhile."""

    name: str
    request: dict[str, Any]
    done: int = 0
    total: int = 0
    future: "Future[Frames]" = field(default_factory=Future)
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0  # from the request to the frames, once they are here

    def arrive(self, frames: Frames) -> None:
        """Hands the frames over."""
        self.seconds = time.monotonic() - self.began
        self.future.set_result(frames)

    def wait_until_opened(self, timeout_s: float) -> None:
        """Waits until the file is known to be a video, but no longer than this. Raises VideoError, UsageError."""
        deadline = time.monotonic() + timeout_s
        while not self.future.done() and not self.total and time.monotonic() < deadline:
            time.sleep(0.005)
        if self.future.done() and (error := self.future.exception()) is not None:
            raise error

    def result(self, on_progress: Progress | None = None) -> Frames:
        """Waits for the frames, calling on_progress(done, total) while they come. Raises VideoError, UsageError."""
        seen = 0
        finished = False
        while not finished:
            with suppress(TimeoutError):
                self.future.exception(timeout=0.1)
            finished = self.future.done()
            done, total = self.done, self.total
            if on_progress is not None and done > seen:
                seen = done
                on_progress(done, total)
        return self.future.result()
