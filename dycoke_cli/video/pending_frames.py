"""Frames on their way from the decoder process."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from dycoke_cli.video.frame_buffer import ArrivingPixels, FramesReplacedError
from dycoke_cli.video.frames import Frames

Progress = Callable[[int, int], None]

_AWAKE_S = 0.1  # a wait this short can be interrupted on every system


@dataclass(eq=False)
class PendingFrames:
    """A promise of frames: the caller may load a model meanwhile, and use the first before the last are there."""

    name: str
    request: dict[str, Any]
    done: int = 0
    total: int = 0
    future: "Future[Frames]" = field(default_factory=Future)
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # from the request to the last frame, once it is here
    cpu_s: float = 0.0  # processor time of the child, once they are here
    _coming: Frames | None = None  # all but the pixels is known
    _attempt: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def come(self, frames: Frames) -> None:
        """Announces frames whose pixels follow; those announced before are void."""
        with self._changed:
            self._attempt += 1
            self._coming, self.done, self.total = frames, 0, len(frames)
            self._changed.notify_all()

    def advance(self, done: int) -> None:
        """Says how many of the frames that come are there."""
        with self._changed:
            self.done = done
            self._changed.notify_all()

    def arrive(self, frames: Frames, cpu_s: float = 0.0) -> None:
        """Hands the frames over."""
        with self._changed:
            self.seconds, self.cpu_s = time.perf_counter() - self.began, cpu_s
            self.future.set_result(frames)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Says that they never come."""
        with self._changed:
            self.future.set_exception(error)
            self._changed.notify_all()

    def wait_until_opened(self, timeout_s: float) -> None:
        """Waits until the file is known to be a video, but no longer than this. Raises VideoError, UsageError."""
        self._wait_until(lambda: self.total > 0, timeout_s)

    def coming(self) -> Frames:
        """Waits until all but the pixels is known. Raises VideoError, UsageError.

        To take a part of the pixels is to wait for it, and may raise FramesReplacedError: then begin anew from here.
        """
        self._wait_until(lambda: self._coming is not None)
        with self._changed:
            frames, attempt = self._coming, self._attempt
        assert frames is not None
        return replace(frames, pixels=ArrivingPixels(frames.pixels, partial(self._wait_for, attempt)))

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the frames, as far as they are known by now."""
        coming = self._coming
        return None if coming is None else (coming.pixels.shape[1], coming.pixels.shape[2])

    def result(self, on_progress: Progress | None = None) -> Frames:
        """Waits for the frames, calling on_progress(done, total) while they come. Raises VideoError, UsageError."""
        seen = 0
        finished = False
        while not finished:
            with suppress(TimeoutError):
                self.future.exception(timeout=_AWAKE_S)
            finished = self.future.done()
            done, total = self.done, self.total
            if on_progress is not None and done > seen:
                seen = done
                on_progress(done, total)
        return self.future.result()

    def _wait_for(self, attempt: int, count: int) -> None:
        """Waits for the first frames of an attempt; for the last one until the reader itself believes them all."""

        def there() -> bool:
            if self._attempt != attempt:
                raise FramesReplacedError
            return count < self.total and self.done >= count

        self._wait_until(there)
        if self._attempt != attempt:
            raise FramesReplacedError

    def _wait_until(self, holds: Callable[[], bool], timeout_s: float = float("inf")) -> None:
        """Waits until something holds or the reading has ended. Raises what it ended with."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self.future.done() and not holds() and time.monotonic() < deadline:
                self._changed.wait(min(_AWAKE_S, max(0.0, deadline - time.monotonic())))
        if self.future.done() and (error := self.future.exception()) is not None:
            raise error
