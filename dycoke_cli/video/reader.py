"""Read videos in a worker process, which is killed and replaced if it hangs or crashes."""

import os
import queue
import threading
import time
from dataclasses import asdict
from typing import Any, Literal, get_args

from dycoke_cli.errors import DyCokeError, UsageError, VideoError
from dycoke_cli.video.frames import Frames, VideoInfo
from dycoke_cli.video.image_sequence import RATE
from dycoke_cli.video.pending_frames import PendingFrames, Progress
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.shared_memory import open_shared_pixels
from dycoke_cli.video.source import check_source, images_in, quoted_path
from dycoke_cli.video.stdin import NAME, STDIN, StdinCopy
from dycoke_cli.video.worker_process import WorkerFailedError, WorkerProcess

Decoder = Literal["auto", "decord", "pyav"]

_START_S = 10.0  # a busy machine may take long to start a process, which says nothing about the video
MAX_PIXELS = 1920 * 1080  # of one frame; above, frames are scaled down while they are decoded
MAX_BYTES = 4 << 30  # of all frames of one video
MAX_PIPED_BYTES = 4 << 30  # of a video from standard input


class VideoReader:
    """Decodes one video after another in one worker process; a context manager that ends the process.

    stall_s: longest time without a message before the worker counts as hung, more for large frames; timeout_s: longest
    time for one video, both attempts together. max_pixels: of one frame, max_bytes: of all frames of one video,
    max_piped_bytes: of a video from stdin.
    """

    def __init__(
        self,
        decoder: Decoder = "auto",
        timeout_s: float = 120.0,
        stall_s: float = 20.0,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
        max_piped_bytes: int = MAX_PIPED_BYTES,
    ) -> None:
        if decoder not in get_args(Decoder):
            raise UsageError(f"{decoder!r} is not a decoder.", "Choose auto, decord or pyav.")
        self._decoder, self._timeout_s, self._stall_s = decoder, timeout_s, stall_s
        self._limits = {"max_pixels": max_pixels, "max_bytes": max_bytes}
        self._jobs: queue.SimpleQueue[PendingFrames | None] = queue.SimpleQueue()
        self._worker: WorkerProcess | None = None
        self._max_piped_bytes = max_piped_bytes
        self._piped: list[StdinCopy] = []
        self._closed = False
        self._lock = threading.Lock()  # for closing and starting a worker
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def child_pid(self) -> int | None:
        """Process id of the worker, if there is one."""
        return self._worker.pid if self._worker is not None else None

    def submit(self, path: str | os.PathLike[str], sampling: Sampling, rate: float | None = None) -> PendingFrames:
        """Start decoding one video and return at once. Raises VideoError for a file that cannot be read.

        path: a video, an image, a folder of images shown at `rate` a second, or `-` for stdin, which is read to its end
        first.
        """
        if self._closed:
            raise RuntimeError("this reader is closed")
        given = os.fspath(path)
        if given == STDIN:
            self._piped.append(StdinCopy.save(self._max_piped_bytes, self._timeout_s))
            source, name = self._piped[-1].path, NAME
        else:
            source, name = check_source(path), quoted_path(path)
        request: dict[str, Any] = {
            "path": source,
            "given": given,
            "name": name,
            "pictures": images_in(source),
            "rate": rate or RATE,
            "sampling": asdict(sampling),
            **self._limits,
        }
        pending = PendingFrames(name, request)
        self._jobs.put(pending)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dycoke-video", daemon=True)
            self._thread.start()
        return pending

    def close(self) -> None:
        """End the worker; videos that are still pending fail with VideoError."""
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.kill()
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        while self._piped:
            self._piped.pop().close()

    def _run(self) -> None:
        """Process one job after another until the reader is closed."""
        while (job := self._jobs.get()) is not None:
            try:
                self._process(job)
            except BaseException as error:
                job.fail(error)
            del job  # the caller alone decides how long the frames live
        self._drop_worker()

    def _process(self, job: PendingFrames) -> None:
        """Decode with the chosen decoder and, if the worker fails, once more with PyAV alone."""
        deadline = time.monotonic() + self._timeout_s
        because, failures = "asked for", []
        for decoder in (self._decoder, "pyav"):
            try:
                self._ask(job, {**job.request, "decoder": decoder, "because": because}, deadline)
                return
            except WorkerFailedError as error:
                self._drop_worker()
                failures.append(error)
                because = f"the first attempt {error}"
            if self._decoder == "decord" or time.monotonic() >= deadline or self._closed:
                break
        told = ", then ".join(f"the decoder process {error}" for error in failures)
        raise VideoError(
            f"{job.name} cannot be decoded: {told}.",
            "Try another copy of it, or convert it with ffmpeg.",
            reason=failures[-1].reason,
        )

    def _ask(self, job: PendingFrames, request: dict[str, Any], deadline: float) -> None:
        """Send a request, and again if the worker had ended before it took the first. Raises as `_exchange`."""
        try:
            self._exchange(job, request, deadline)
        except WorkerFailedError as error:
            if error.begun:
                raise
            self._drop_worker()
            self._exchange(job, request, deadline)

    def _exchange(self, job: PendingFrames, request: dict[str, Any], deadline: float) -> None:
        """Send one request and follow its progress. Raises WorkerFailedError, VideoError, UsageError."""
        worker = self._ensure_worker()
        worker.send(request)
        patience_s = max(self._stall_s, _START_S)
        frames: Frames | None = None
        while True:
            left_s = deadline - time.monotonic()
            message = worker.receive(min(patience_s, left_s)) if left_s > 0 else None
            if message is None:
                late = deadline <= time.monotonic()
                what = f"took longer than {self._timeout_s:g} s" if late else f"made no progress for {patience_s:.3g} s"
                raise WorkerFailedError(what, "timeout")
            if message["kind"] == "begun" or "allowance_s" in message:
                patience_s = self._stall_s + message.get("allowance_s", 0.0)
            if message["kind"] == "announced":
                frames = _frames_of(message)
                job.announce(frames)
            elif message["kind"] == "progress":
                job.advance(message["done"])
            elif message["kind"] == "error":
                raise _error_of(message)
            elif message["kind"] == "frames":
                assert frames is not None
                job.complete(frames, message["cpu_s"])
                return

    def _ensure_worker(self) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise WorkerFailedError("was closed", "crash")
            if self._worker is not None and not self._worker.alive:
                self._worker.close()
                self._worker = None
            if self._worker is None:
                try:
                    self._worker = WorkerProcess()
                except OSError as error:
                    raise WorkerFailedError(f"could not be started ({error.strerror})", "crash") from None
            return self._worker

    def _drop_worker(self) -> None:
        with self._lock:
            if self._worker is not None:
                self._worker.close()
                self._worker = None


def read_frames(
    path: str | os.PathLike[str],
    sampling: Sampling,
    decoder: Decoder = "auto",
    timeout_s: float = 120.0,
    on_progress: Progress | None = None,
    rate: float | None = None,
) -> Frames:
    """Decode the frames of one video; see `VideoReader.submit`. Raises VideoError, UsageError."""
    with VideoReader(decoder, timeout_s) as reader:
        return reader.submit(path, sampling, rate).result(on_progress)


def _frames_of(message: dict[str, Any]) -> Frames:
    info = dict(message["info"], warnings=tuple(message["info"]["warnings"]))
    try:
        pixels = open_shared_pixels(message["memory"], tuple(message["shape"]))
    except (OSError, ValueError) as error:
        raise WorkerFailedError(f"lost pictures ({error})", "crash") from None
    return Frames(pixels, tuple(message["indices"]), tuple(message["seconds"]), VideoInfo(**info))


def _error_of(message: dict[str, Any]) -> DyCokeError:
    if message["reason"] is None:
        return UsageError(message["message"], message["remedy"])
    return VideoError(message["message"], message["remedy"], reason=message["reason"])
