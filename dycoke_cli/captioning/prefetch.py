"""Videos on their way to the model: several are read at once, ahead of what it works on."""

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
from dycoke_cli.session.pipeline import start_reading
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.reader import VideoReader

HELD_BYTES = 4 << 30  # of frames that wait for the model


@dataclass(frozen=True)
class Read:
    """One video's frames, or why there are none."""

    item: Item
    video: Identity
    frames: Frames | None
    error: DyCokeError | None
    seconds: float  # reading took

    @property
    def nbytes(self) -> int:
        """Bytes of the frames."""
        return self.frames.pixels.nbytes if self.frames is not None else 0


class Prefetch:
    """Reads videos in several decoder processes, in the order given, and hands them over as they come.

    room: videos that may be read or wait to be taken at a time. A context manager that leaves no process behind.
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
        """Videos that were added and not taken yet."""
        return len(self.waiting) + self.held

    def add(self, items: Iterable[Item]) -> None:
        """Queue videos to be read."""
        self.waiting.extend(items)
        self._wake()

    def drop_waiting(self) -> None:
        """Forget what no process has begun to read."""
        with self.lock:
            self.waiting.clear()

    def take(self, timeout_s: float) -> Read | None:
        """Give the next video that has come; None when none does in time."""
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
        """Give idle processes something to read, where there is room for it."""
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
            pending = start_reading(reader, item.path, self.job.settings, self.job.default_frames)
        except DyCokeError as error:
            self._arrive(reader, Read(item, video, None, error, 0.0))
            return
        pending.future.add_done_callback(lambda _: self._arrive(reader, _read(item, video, pending)))

    def _arrive(self, reader: VideoReader, read: Read) -> None:
        """Pass on what came, and let its process go on; called in the thread of the reader."""
        with self.lock:
            self.held_bytes += read.nbytes
            self.idle.append(reader)
        self.arrived.put(read)
        self._wake()


def _read(item: Item, video: Identity, pending: PendingFrames) -> Read:
    error = pending.future.exception()
    if error is None:
        return Read(item, video, pending.future.result(), None, pending.seconds)
    if not isinstance(error, VideoError | UsageError):  # a reader that is being closed, or a bug of it
        error = VideoError(f"{item.path!r} cannot be read: {error!r}", reason="crash")
    return Read(item, video, None, error, 0.0)
