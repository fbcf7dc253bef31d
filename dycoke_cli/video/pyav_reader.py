"""Decode frames with PyAV: by seeking to timestamps where the index is exact, else by counting frames."""

from collections.abc import Callable, Iterator
from itertools import chain

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from dycoke_cli.video.colour import RgbConverter
from dycoke_cli.video.container import open_container, video_stream
from dycoke_cli.video.frame_index import FrameIndex
from dycoke_cli.video.frames import FramePixels

_REORDERED = 4  # packets that a decoder may hold back to reorder frames
_LOWRES_CODECS = {"mjpeg", "jpeg2000"}  # exact at reduced size, as no frame refers to another


class IndexRefutedError(Exception):
    """A frame of the index cannot be decoded; only counting all frames finds what can."""


def decode_frames(
    index: FrameIndex,
    chosen: npt.NDArray[np.int64],
    size: tuple[int, int],
    beat: Callable[[], None],
    seek_cost: int | None = None,
) -> Iterator[FramePixels]:
    """Yield the upright frames of `chosen`, calling `beat` with each packet.

    chosen: (frames,) rising places in the index; size: width and height to scale to, before the orientation is applied.
    seek_cost: how many frames can be decoded in the time of a seek; it decides between seeking and reading on, and does
    not change the frames. None: as many as the decoder holds, which a seek discards.
    Raise IndexRefutedError if the file is more damaged than its index indicates.
    """
    with open_container(index.path, index.name) as container:
        stream = video_stream(container, index.name)
        use_threads(stream, not index.one_thread)
        if index.codec in _LOWRES_CODECS and index.losses == ():
            stream.codec_context.options |= {"lowres": str(_halvings(index, size))}
        rgb = RgbConverter(*size, index.hdr)
        if index.places is None:
            held = stream.codec_context.thread_count + _REORDERED
            cost = held if seek_cost is None else seek_cost
            decoded = _SeekingDecoder(container, stream, index, chosen, beat, cost).frames()
        else:
            decoded = _pick(all_frames(container, stream, beat, []), index.places[chosen].tolist())
        for frame in decoded:
            yield index.orientation.apply(rgb.convert(frame))


def _halvings(index: FrameIndex, size: tuple[int, int]) -> int:
    """Return how often a decoder can halve the frame without falling below `size`: at most 3."""
    return min(3, max(0, int(np.log2(min(index.stored_width / size[0], index.height / size[1])))))


def use_threads(stream: "av.video.stream.VideoStream", many: bool) -> None:
    """Set whether the decoder works on several frames at once or on one thread."""
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
    """Yield all frames that decode, in order; append each error to `errors` instead of raising it."""
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


def _pick(decoded: Iterator["av.VideoFrame"], places: list[int]) -> Iterator["av.VideoFrame"]:
    """Yield the frames at `places` of all that decode; in damaged files, places need not rise."""
    chosen = set(places)
    ready: dict[int, av.VideoFrame] = {}
    place = -1
    for wanted in places:
        while wanted not in ready:
            frame = next(decoded, None)
            if frame is None:
                return
            place += 1
            if place in chosen:
                ready[place] = frame
        yield ready.pop(wanted)


class _SeekingDecoder:
    """Decoder of chosen frames, found by pts, that seeks to a key frame where this is cheaper than reading on."""

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
        self.targets = [int(pts) for pts in index.pts[chosen]]
        self.pending = set(self.targets)
        self.packets: Iterator[av.Packet] = container.demux(stream)
        self.ready: dict[int, av.VideoFrame] = {}
        self.key = int(index.keys[0]) if len(index.keys) else 0  # pts of the last key frame sent to the decoder
        self.fed = -(2**63)  # the highest pts of the packets sent to the decoder
        self.last = -(2**63)  # the pts of the last decoded frame

    def frames(self) -> Iterator["av.VideoFrame"]:
        """Yield the chosen frames. Raise IndexRefutedError if one is missing or damaged."""
        try:
            # The first packet is decoded before any seek: with x264 it holds what the decoding of 4:4:4 needs.
            self._feed(self.targets[0])
            for target in self.targets:
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
        """Return whether decoding on to a key frame would cost more than a seek."""
        here, there = np.searchsorted(self.index.pts, [self.fed, key])
        return bool(there - here > self.seek_cost)

    def _feed(self, target: int) -> None:
        """Decode one packet. Raise IndexRefutedError if the target has been passed or a frame is damaged."""
        self.beat()
        packet = next(self.packets, None)
        if packet is None:
            raise IndexRefutedError
        if packet.pts is not None:
            self.fed = max(self.fed, packet.pts)
            if packet.is_keyframe:
                self.key = max(self.key, packet.pts)
        if self.index.seekable:  # elsewhere, as in AVI, pts may be made up, which skipped frames would hide
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
        """Seek to a key frame. Raise IndexRefutedError if the container lands behind it."""
        self.container.seek(key, stream=self.stream, backward=True)
        packets = self.container.demux(self.stream)
        first = next(packets)
        if first.pts is None or first.pts > key:
            raise IndexRefutedError
        self.packets = chain([first], packets)
        self.last = -(2**63)
