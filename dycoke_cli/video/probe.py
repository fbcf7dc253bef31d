"""The index of a video, read from its packets without decoding them, and the list of what decord gets right."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from dycoke_cli.video.container import moving_streams, open_container, video_stream
from dycoke_cli.video.first_frame import FirstFrame
from dycoke_cli.video.frame_index import FrameIndex, shortfall
from dycoke_cli.video.timestamps import Timestamps

_SEEKABLE = {"mov": "mp4", "matroska": "matroska"}  # the first of FFmpeg's names for the format -> ours
_DECORD_CODECS = {"h264", "hevc", "vp8", "vp9", "mpeg4", "mjpeg", "prores"}

_UNKNOWN = -(2**63)  # FFmpeg's own mark for a time that is not there
_ROW = np.dtype([("pts", "i8"), ("dts", "i8"), ("duration", "i8"), ("key", "?"), ("hidden", "?")])


@dataclass(frozen=True, eq=False)
class Packets:
    """What the packets of one stream say, in the order of the file."""

    pts: npt.NDArray[np.int64]  # (packets,) all zero unless `complete`
    durations: npt.NDArray[np.int64]  # (packets,)
    key: npt.NDArray[np.bool_]  # (packets,)
    hidden: npt.NDArray[np.bool_]  # (packets,) decoded, but cut away by an edit list
    one_clock: bool  # times never jump back, as in a joined .ts
    complete: bool  # each packet is one frame at a moment of its own
    damaged: bool

    @classmethod
    def read(cls, container: "av.container.InputContainer", stream: int, beat: Callable[[], None]) -> "Packets":
        """Walks through the whole file."""
        damage: list[Exception | None] = []
        rows = np.fromiter(_walk(container, stream, beat, damage), _ROW)
        pts, dts = rows["pts"], rows["dts"][rows["dts"] != _UNKNOWN]
        one_clock = bool(np.all(np.diff(dts) > 0))
        complete = len(pts) > 0 and one_clock and _UNKNOWN not in pts and len(np.unique(pts)) == len(pts)
        return cls(
            pts=pts if complete else np.zeros(len(pts), dtype=np.int64),
            durations=rows["duration"],
            key=rows["key"],
            hidden=rows["hidden"],
            one_clock=one_clock,
            complete=complete,
            damaged=bool(damage),
        )

    def closed_gops(self) -> bool:
        """Whether no frame is shown before the key frame that it is stored after."""
        rank = np.argsort(np.argsort(self.pts))
        keys = np.flatnonzero(self.key)
        return bool(np.all(rank[keys] == keys))


def _walk(
    container: "av.container.InputContainer", stream: int, beat: Callable[[], None], damage: list[Exception | None]
) -> Iterator[tuple[int, int, int, bool, bool]]:
    """Yields a _ROW for each packet, and notes what is broken."""
    try:
        for packet in container.demux(container.streams[stream]):
            beat()
            if packet.is_corrupt:
                damage.append(None)
            if packet.size:  # the last one is empty and only asks a decoder to finish
                pts, dts = packet.pts, packet.dts
                yield (
                    _UNKNOWN if pts is None else pts,
                    _UNKNOWN if dts is None else dts,
                    packet.duration or 0,
                    packet.is_keyframe,
                    packet.is_discard,
                )
    except MemoryError:
        raise
    except FFmpegError as error:
        damage.append(error)


def read_index(path: str, name: str, beat: Callable[[], None]) -> FrameIndex:
    """Reads the index of the best video stream, calling `beat` on the way. Raises VideoError."""
    first = FirstFrame.read(path, name, beat)
    with open_container(path, name) as container:
        stream = video_stream(container, name)
        packets = Packets.read(container, stream.index, beat)
        format_name = container.format.name.split(",")[0]
        order = np.argsort(packets.pts, kind="stable")
        order = order[~packets.hidden[order]] if packets.complete else order[:0]
        base, rate = float(stream.time_base), float(stream.average_rate or 0)
        seconds = np.asarray((packets.pts[order] - packets.pts[order][:1]) * base, dtype=np.float64)
        kind = _SEEKABLE.get(format_name, format_name)
        clock = Timestamps.of_index(seconds, kind)
        duration_s = _end(clock.seconds, float(packets.durations[order][-1:].sum()) * base, rate)
        end_s = duration_s + clock.skipped_s
        promised_s = _promised_s(container, stream)
        # A header may count frames that an edit list hides; it is held to its count only where time is missing too.
        cut = stream.frames > len(packets.pts) and promised_s - end_s > 1.5 / (rate or 25)
        damaged = packets.damaged or cut
        short = shortfall(end_s, promised_s, len(order))
        return FrameIndex(
            path=path,
            name=name,
            container=kind,
            codec=stream.codec_context.codec.canonical_name,
            width=first.width,
            height=first.height,
            stored_width=first.stored_width,
            orientation=first.orientation,
            hdr=first.hdr,
            pts=packets.pts[order],
            keys=np.sort(packets.pts[packets.key]),
            seconds=clock.seconds,
            duration_s=duration_s,
            promised=(stream.frames if cut else len(packets.pts)) - int(packets.hidden.sum()),
            promised_s=promised_s,
            damaged=damaged,
            one_clock=packets.one_clock,
            exact=len(order) > 0 and not damaged,
            seekable=format_name in _SEEKABLE and bool(packets.key.any()),
            doubt=_doubt(packets, container, stream) or first.doubt,
            losses=() if damaged else _unfinished(path, kind) or short + clock.holes(kind, damaged=False),
            notes=first.notes + clock.notes,
        )


def _unfinished(path: str, format_name: str) -> tuple[str, ...]:
    """Says that a GIF lacks its end, which no decoder notices."""
    if format_name != "gif":
        return ()
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - 64))
        return () if file.read().rstrip(b"\0").endswith(b";") else ("its end is missing",)


def _promised_s(container: "av.container.InputContainer", stream: "av.video.stream.VideoStream") -> float:
    """How long the header says the picture runs; 0 where that cannot be told from how long the sound does."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Some containers count from zero, not from their first frame.
    whole = (container.duration or 0) - max(0, container.start_time or 0)
    return whole / av.time_base if len(container.streams) == 1 else 0.0


def _doubt(
    packets: Packets, container: "av.container.InputContainer", stream: "av.video.stream.VideoStream"
) -> str | None:
    """Says in a few words why decord would not give the right frames, or None.

    decord 0.6 ends in silently wrong frames or an endless loop on these; files that pass were right in any order.
    """
    codec = stream.codec_context.codec.canonical_name
    format_name = container.format.name.split(",")[0]
    doubts = {
        "decord is not installed": importlib.util.find_spec("decord") is None,
        codec.upper(): codec not in _DECORD_CODECS,
        f"{format_name} container": format_name not in _SEEKABLE,
        "several video streams": len(moving_streams(container)) > 1,
        "damaged packets": packets.damaged,
        "packets without times of their own": not packets.complete,
        "no rate or duration in the header": not (stream.average_rate and (stream.frames or container.duration)),
        "edit list": bool(packets.hidden.any()),
        f"{stream.frames} frames in the header, {len(packets.pts)} in the file": (
            stream.frames not in (0, len(packets.pts))
        ),
        "no key frame at the start": not packets.key[:1].any(),
        "open GOP": not packets.closed_gops(),
        "times above 2^31": packets.pts.max(initial=0) >= 2**31,
    }
    return next((words for words, holds in doubts.items() if holds), None)


def _end(seconds: npt.NDArray[np.float64], last_s: float, rate: float) -> float:
    """When the last frame ends: by its own duration, else by the rate, else by the usual step."""
    if not len(seconds):
        return 0.0
    step = 1 / rate if rate else float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return float(seconds[-1] + (last_s or step))
