"""Decode videos ahead of the model, several at once, in decoder processes."""

import queue
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from dycoke_cli.captioning.item import Identity, Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.errors import DyCokeError, UsageError, VideoError
from dycoke_cli.session.frame_request import start_decoding
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.reader import VideoReader

HELD_BYTES = 4 << 30  # of frames that wait for the model; no further video is begun above it


@dataclass(frozen=True)
class DecodedVideo:
    """The decoded frames of one video, or the error that prevented them."""

    item: Item
    identity: Identity
    result: Frames | DyCokeError
    seconds: float = 0.0  # spent decoding

    @property
    def frames(self) -> Frames:
        """The frames of a video without an error."""
        assert isinstance(self.result, Frames)
        return self.result

    @property
    def nbytes(self) -> int:
        """Size of the frames in bytes."""
        return self.result.pixels.nbytes if isinstance(self.result, Frames) else 0


class Prefetch:
    """Decodes videos in several processes, in the order given, and returns them as they finish.

    room: videos being decoded or waiting to be taken, at most. A context manager that ends its processes.
    """

    def __init__(self, job: Job, room: int) -> None:
        self.job, self.room = job, room
        self.readers = [VideoReader(job.settings.decoder, job.settings.video_timeout) for _ in range(job.decoders)]
        self.idle = deque(self.readers)
        self.waiting: deque[Item] = deque()
        self.arrived: queue.SimpleQueue[DecodedVideo] = queue.SimpleQueue()
        self.held = self.held_bytes = 0
        self.lock = threading.Lock()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.waiting.clear()
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

    def take(self, timeout_s: float) -> DecodedVideo | None:
        """Return the next decoded video; None if none arrives within `timeout_s`."""
        try:
            decoded = self.arrived.get(timeout=timeout_s)
        except queue.Empty:
            return None
        with self.lock:
            self.held -= 1
            self.held_bytes -= decoded.nbytes
        self._wake()
        return decoded

    def _wake(self) -> None:
        """Start idle processes on queued videos while there is room."""
        while True:
            with self.lock:
                has_room = self.held < self.room and self.held_bytes < HELD_BYTES
                if not (self.idle and self.waiting and has_room):
                    return
                reader, item = self.idle.popleft(), self.waiting.popleft()
                self.held += 1
            self._begin(reader, item)

    def _begin(self, reader: VideoReader, item: Item) -> None:
        identity = Identity.of(item.path)
        try:
            pending = start_decoding(reader, item.path, self.job.settings, self.job.default_frames)
        except DyCokeError as error:
            self._arrive(reader, DecodedVideo(item, identity, error))
            return
        pending.future.add_done_callback(lambda _: self._arrive(reader, _decoded(item, identity, pending)))

    def _arrive(self, reader: VideoReader, decoded: DecodedVideo) -> None:
        """Queue a result for `take` and free its process. Called in the thread of the reader."""
        with self.lock:
            self.held_bytes += decoded.nbytes
            self.idle.append(reader)
        self.arrived.put(decoded)
        self._wake()


def _decoded(item: Item, identity: Identity, pending: PendingFrames) -> DecodedVideo:
    error = pending.future.exception()
    if error is None:
        return DecodedVideo(item, identity, pending.future.result(), pending.seconds)
    if not isinstance(error, VideoError | UsageError):  # the reader is being closed, or has a bug
        error = VideoError(f"{item.path!r} cannot be read: {error!r}", reason="crash")
    return DecodedVideo(item, identity, error)
