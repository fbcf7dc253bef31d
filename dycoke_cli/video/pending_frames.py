"""Frames that a decoder process has been asked for."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.video.frame_buffer import FrameBuffer
from dycoke_cli.video.frames import Frames

Progress = Callable[[int, int], None]

_AWAKE_S = 0.1  # a wait this short can be interrupted on every system


@dataclass(eq=False)
class PendingFrames:
    """A future of frames, whose first ones can be used before the last are decoded.

    A decoder that fails or is refuted is replaced by another one, which announces frames anew: `attempt` counts that.
    """

    name: str
    request: dict[str, Any]
    done: int = 0
    total: int = 0
    attempt: int = 0
    future: "Future[Frames]" = field(default_factory=Future)
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # from the request to the last frame, once it is decoded
    waited_s: float = 0.0  # that callers have waited for pixels
    cpu_s: float = 0.0  # processor time of the decoder process, once all frames are decoded
    size: tuple[int, int] | None = None  # height and width of the frames; None before they are announced
    _announced: Frames | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def completed(cls, name: str, frames: Frames, seconds: float) -> "PendingFrames":
        """Return a future that is done: of frames that took so many seconds until now."""
        pending = cls(name, {}, began=time.perf_counter() - seconds)
        pending.announce(frames)
        pending.complete(frames)
        pending.seconds = seconds
        return pending

    def announce(self, frames: Frames) -> None:
        """Make known all but the content of the pixels; replaces frames that were announced before."""
        with self._changed:
            self.attempt += 1
            load = partial(self._load, self.attempt, frames.pixels)
            self._announced = replace(frames, pixels=FrameBuffer(frames.pixels.shape, load))
            self.done, self.total, self.size = 0, len(frames), frames.pixels.shape[1:3]
            self._changed.notify_all()

    def advance(self, done: int) -> None:
        """Set how many of the announced frames are decoded."""
        with self._changed:
            self.done = done
            self._changed.notify_all()

    def complete(self, frames: Frames, cpu_s: float = 0.0) -> None:
        """Set the result."""
        with self._changed:
            self.seconds, self.cpu_s = time.perf_counter() - self.began, cpu_s
            self._end(lambda: self.future.set_result(frames))

    def fail(self, error: BaseException) -> None:
        """Set the error that every wait raises from now on."""
        with self._changed:
            self._end(lambda: self.future.set_exception(error))

    def _end(self, settle: Callable[[], None]) -> None:
        self._announced = None  # it refers to this object: the cycle would keep the pixels
        settle()
        self._changed.notify_all()

    def wait_until_opened(self, timeout_s: float) -> None:
        """Wait until the file is known to be a video, at most so long. Raises VideoError, UsageError."""
        self._wait_until(lambda: self.total > 0, timeout_s)

    def announced(self) -> Frames:
        """Wait until all but the content of the pixels is known; once all frames are decoded, return the result.

        Pixels of frames that were replaced meanwhile hold whatever was decoded of them: compare `attempt` before and
        after they are used. Raises VideoError, UsageError.
        """
        self._wait_until(lambda: self._announced is not None)
        with self._changed:
            frames = self.future.result() if self.future.done() else self._announced
        assert frames is not None
        return frames

    def result(self, on_progress: Progress | None = None) -> Frames:
        """Wait for all frames, calling on_progress(done, total) meanwhile. Raises VideoError, UsageError."""
        reported = 0
        finished = False
        while not finished:
            with suppress(TimeoutError):
                self.future.exception(timeout=_AWAKE_S)
            finished = self.future.done()
            done, total = self.done, self.total
            if on_progress is not None and done > reported:
                reported = done
                on_progress(done, total)
        return self.future.result()

    def _load(self, attempt: int, pixels: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
        """Return the pixels of an attempt once its first `count` frames are decoded, or once it has been replaced.

        The last frame counts as decoded when the whole attempt has been accepted.
        """
        began = time.perf_counter()
        self._wait_until(lambda: self.attempt != attempt or (count < self.total and self.done >= count))
        self.waited_s += time.perf_counter() - began
        return pixels

    def _wait_until(self, holds: Callable[[], bool], timeout_s: float = float("inf")) -> None:
        """Wait until a condition holds or the future is done. Raises the future's error."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self.future.done() and not holds() and time.monotonic() < deadline:
                self._changed.wait(min(_AWAKE_S, max(0.0, deadline - time.monotonic())))
        if self.future.done() and (error := self.future.exception()) is not None:
            raise error
