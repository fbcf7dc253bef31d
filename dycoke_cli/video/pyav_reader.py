"""Frames by PyAV: by seeking where the index is exact, by counting elsewhere."""

from collections.abc import Callable, Iterator
from itertools import chain

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from dycoke_cli.video.colour import RgbConverter
from dycoke_cli.video.container import open_container, video_stream
from dycoke_cli.video.frame_index import FrameIndex
from dycoke_cli.video.frames import Picture

_REORDERED = 4  # packets that a decoder may hold back to put frames in order
_SHRINKING = {"mjpeg", "jpeg2000"}  # decode at half the size exactly, as no frame is built on another


class IndexRefutedError(Exception):
    """A frame of the index cannot be decoded: only counting tells what is there."""


def pictures(
    index: FrameIndex,
    chosen: npt.NDArray[np.int64],
    size: tuple[int, int],
    beat: Callable[[], None],
    seek_cost: int | None = None,
) -> Iterator[Picture]:
    """Yields the upright pictures of `chosen`, calling `beat` with each packet.

    chosen: (frames,) rising places in the index; size: width and height to scale to, before the orientation.
    seek_cost: how many frames can be decoded in the time of a seek, which decides between seeking and reading on, and
    never what is shown. None: as many as the decoder has in hand, which a seek throws away.
    Raises IndexRefutedError when the file is more damaged than its index tells.
    """
    with open_container(index.path, index.name) as container:
        stream = video_stream(container, index.name)
        use_threads(stream, not index.one_thread)
        if index.codec in _SHRINKING and index.losses == ():
            stream.codec_context.options |= {"lowres": str(_halvings(index, size))}
        rgb = RgbConverter(*size, index.hdr)
        if index.places is None:
            in_hand = stream.codec_context.thread_count + _REORDERED
            cost = in_hand if seek_cost is None else seek_cost
            found = _Walk(container, stream, index, chosen, beat, cost).frames()
        else:
            found = _counted(all_frames(container, stream, beat, []), index.places[chosen].tolist())
        for frame in found:
            yield index.orientation.apply(rgb.convert(frame))


def _halvings(index: FrameIndex, size: tuple[int, int]) -> int:
    """How often a frame can be halved and still be as large as wanted; decoders offer up to three."""
    return min(3, max(0, int(np.log2(min(index.stored_width / size[0], index.height / size[1])))))


def use_threads(stream: "av.video.stream.VideoStream", many: bool) -> None:
    """Lets the decoder work on several frames at once, or on one after another."""
    if many:
        stream.thread_type = "AUTO"
    else:
        stream.codec_context.thread_count = 1


def all_frames(
    container: "av.container.InputContainer",
    stream: "av.video.stream.VideoStream",
    beat: Callable[[], None],
    errors: list[Exception],
) -> Iterator["av.VideoFrame"]:
    """Yields everything that decodes, in order, and notes each error instead of raising it."""
    packets = container.demux(stream)
    while True:
        beat()
        try:
            packet = next(packets, None)
        except MemoryError:
            raise
        except FFmpegError as error:
            errors.append(error)
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except MemoryError:
            raise
        except FFmpegError as error:
            errors.append(error)


def _counted(decoded: Iterator["av.VideoFrame"], places: list[int]) -> Iterator["av.VideoFrame"]:
    """Picks frames by their place among all that decode; damaged files do not always give them in order."""
    waiting = set(places)
    ready: dict[int, av.VideoFrame] = {}
    place = -1
    for wanted in places:
        while wanted not in ready:
            frame = next(decoded, None)
            if frame is None:
                return
            place += 1
            if place in waiting:
                ready[place] = frame
        yield ready.pop(wanted)


class _Walk:
    """The way through a file from wanted frame to wanted frame, each recognised by its pts."""

    def __init__(
        self,
        container: "av.container.InputContainer",
        stream: "av.video.stream.VideoStream",
        index: FrameIndex,
        chosen: npt.NDArray[np.int64],
        beat: Callable[[], None],
        seek_cost: int,
    ) -> None:
        self.container, self.stream, self.index, self.beat = container, stream, index, beat
        self.seek_cost = seek_cost
        self.wanted = [int(pts) for pts in index.pts[chosen]]
        self.pending = set(self.wanted)
        self.packets: Iterator[av.Packet] = container.demux(stream)
        self.ready: dict[int, av.VideoFrame] = {}
        self.key = int(index.keys[0]) if len(index.keys) else 0  # the last key frame that was decoded
        self.fed = -(2**63)  # the latest time among the packets that went in
        self.last = -(2**63)  # the time of the last frame that came out

    def frames(self) -> Iterator["av.VideoFrame"]:
        try:
            # The first packet comes before any seek: x264 writes into it what the decoding of 4:4:4 needs.
            self._feed(self.wanted[0])
            for target in self.wanted:
                key = self.index.key_before(target) if self.index.seekable else self.key
                if key > self.key and target not in self.ready and self._far(key):
                    self._seek(key)
                while target not in self.ready:
                    self._feed(target)
                self.pending.remove(target)
                yield self.ready.pop(target)
        except FFmpegError:
            raise IndexRefutedError from None

    def _far(self, key: int) -> bool:
        """Whether more frames lie before a key frame than could be decoded in the time of a seek."""
        here, there = np.searchsorted(self.index.pts, [self.fed, key])
        return bool(there - here > self.seek_cost)

    def _feed(self, target: int) -> None:
        """Decodes one packet. Raises IndexRefutedError where the target has been passed or the picture is damaged."""
        self.beat()
        packet = next(self.packets, None)
        if packet is None:
            raise IndexRefutedError
        if packet.pts is not None:
            self.fed = max(self.fed, packet.pts)
            if packet.is_keyframe:
                self.key = max(self.key, packet.pts)
        if self.index.seekable:  # elsewhere, as in AVI, times may be made up, which only shows when nothing is skipped
            needed = packet.pts in self.pending or not packet.size
            self.stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
        for frame in packet.decode():
            if frame.is_corrupt or frame.pts is None or (frame.pts > target and target not in self.ready):
                raise IndexRefutedError
            if frame.pts <= self.last:
                raise IndexRefutedError
            self.last = frame.pts
            if frame.pts in self.pending:
                self.ready[frame.pts] = frame

    def _seek(self, key: int) -> None:
        """Goes to a key frame. Raises IndexRefutedError where the container lands behind it."""
        self.container.seek(key, stream=self.stream, backward=True)
        packets = self.container.demux(self.stream)
        first = next(packets)
        if first.pts is None or first.pts > key:
            raise IndexRefutedError
        self.packets = chain([first], packets)
        self.last = -(2**63)
