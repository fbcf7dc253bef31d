"""Decode videos ahead of the model, several at once, in decoder processes."""

import queue
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.key import Identity
from dycoke_cli.errors import DyCokeError, UsageError, VideoError
from dycoke_cli.session.frame_request import start_decoding
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.reader import VideoReader

HELD_BYTES = 4 << 30  # of frames that wait for the model; no further video is begun above it


@dataclass(frozen=True)
class Read:
    """The decoded frames of one video, or the error that prevented them."""

    item: Item
    video: Identity
    frames: Frames | None
    error: DyCokeError | None
    seconds: float  # spent decoding

    @property
    def nbytes(self) -> int:
        """Size of the frames in bytes."""
        return self.frames.pixels.nbytes if self.frames is not None else 0


class Prefetch:
    """Decodes videos in several processes, in the order given, and returns them as they finish.

    room: videos being decoded or waiting to be taken, at most. A context manager that ends its processes.
    """

    def __init__(self, job: Job, room: int) -> None:
        self.job, self.room = job, room
        self.readers = [VideoReader(job.settings.decoder, job.settings.video_timeout) for _ in range(job.decoders)]
        self.idle = deque(self.readers)
        self.waiting: deque[Item] = deque()
        self.arrived: queue.SimpleQueue[Read] = queue.SimpleQueue()
        self.held = self.held_bytes = 0
        self.lock = threading.Lock()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop_waiting()
        for reader in self.readers:
            reader.close()

    @property
    def left(self) -> int:
        """Number of videos added and not yet taken."""
        return len(self.waiting) + self.held

    def add(self, items: Iterable[Item]) -> None:
        """Queue videos to be decoded."""
        self.waiting.extend(items)
        self._wake()

    def drop_waiting(self) -> None:
        """Remove the videos that no process has begun to decode."""
        with self.lock:
            self.waiting.clear()

    def take(self, timeout_s: float) -> Read | None:
        """Return the next decoded video; None if none arrives within `timeout_s`."""
        try:
            read = self.arrived.get(timeout=timeout_s)
        except queue.Empty:
            return None
        with self.lock:
            self.held -= 1
            self.held_bytes -= read.nbytes
        self._wake()
        return read

    def _wake(self) -> None:
        """Start idle processes on queued videos while there is room."""
        while True:
            with self.lock:
                if not (self.idle and self._may_begin()):
                    return
                reader, item = self.idle.popleft(), self.waiting.popleft()
                self.held += 1
            self._begin(reader, item)

    def _may_begin(self) -> bool:
        return bool(self.waiting) and self.held < self.room and self.held_bytes < HELD_BYTES

    def _begin(self, reader: VideoReader, item: Item) -> None:
        video = Identity.of(item.path)
        try:
            pending = start_decoding(reader, item.path, self.job.settings, self.job.default_frames)
        except DyCokeError as error:
            self._arrive(reader, Read(item, video, None, error, 0.0))
            return
        pending.future.add_done_callback(lambda _: self._arrive(reader, _read(item, video, pending)))

    def _arrive(self, reader: VideoReader, read: Read) -> None:
        """Queue a result for `take` and free its process. Called in the thread of the reader."""
        with self.lock:
            self.held_bytes += read.nbytes
            self.idle.append(reader)
        self.arrived.put(read)
        self._wake()


def _read(item: Item, video: Identity, pending: PendingFrames) -> Read:
    error = pending.future.exception()
    if error is None:
        return Read(item, video, pending.future.result(), None, pending.seconds)
    if not isinstance(error, VideoError | UsageError):  # the reader is being closed, or has a bug
        error = VideoError(f"{item.path!r} cannot be read: {error!r}", reason="crash")
    return Read(item, video, None, error, 0.0)
