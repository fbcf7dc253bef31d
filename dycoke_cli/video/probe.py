"""Read the frame index of a video from its packets, without decoding, and decide whether decord is safe for it."""

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

_SEEKABLE = {"mov": "mp4", "matroska": "matroska"}  # FFmpeg's first name for the format -> ours
_DECORD_CODECS = {"h264", "hevc", "vp8", "vp9", "mpeg4", "mjpeg", "prores"}
_MIN_DECORD_WIDTH = 32  # pixels; decord returns frames of another shape below

_UNKNOWN = -(2**63)  # FFmpeg's value for a missing time
_SLANTED = "its rotation is no multiple of 90 degrees and is not applied"
_ROW = np.dtype([("pts", "i8"), ("dts", "i8"), ("duration", "i8"), ("key", "?"), ("hidden", "?")])


@dataclass(frozen=True, eq=False)
class Packets:
    """Times and flags of the packets of one stream, in file order."""

    pts: npt.NDArray[np.int64]  # (packets,) all zero unless `complete`
    durations: npt.NDArray[np.int64]  # (packets,)
    key: npt.NDArray[np.bool_]  # (packets,)
    hidden: npt.NDArray[np.bool_]  # (packets,) decoded, but hidden by an edit list
    monotonic_dts: bool  # decoding times never go back, as they do in joined .ts files
    complete: bool  # each packet is one frame with a time of its own
    damaged: bool

    @classmethod
    def read(cls, container: "av.container.InputContainer", stream: int, beat: Callable[[], None]) -> "Packets":
        """Demux the whole file, calling `beat` with each packet."""
        damage: list[Exception | None] = []
        rows = np.fromiter(_demux(container, stream, beat, damage), _ROW)
        pts, dts = rows["pts"], rows["dts"][rows["dts"] != _UNKNOWN]
        monotonic_dts = bool(np.all(np.diff(dts) > 0))
        complete = len(pts) > 0 and monotonic_dts and _UNKNOWN not in pts and len(np.unique(pts)) == len(pts)
        return cls(
            pts=pts if complete else np.zeros(len(pts), dtype=np.int64),
            durations=rows["duration"],
            key=rows["key"],
            hidden=rows["hidden"],
            monotonic_dts=monotonic_dts,
            complete=complete,
            damaged=bool(damage),
        )

    def closed_gops(self) -> bool:
        """Return whether no frame is displayed before the key frame that precedes it in the file."""
        rank = np.argsort(np.argsort(self.pts))
        keys = np.flatnonzero(self.key)
        return bool(np.all(rank[keys] == keys))


def _demux(
    container: "av.container.InputContainer", stream: int, beat: Callable[[], None], damage: list[Exception | None]
) -> Iterator[tuple[int, int, int, bool, bool]]:
    """Yield a _ROW for each packet; append an entry to `damage` for each corrupt packet or error."""
    try:
        for packet in container.demux(container.streams[stream]):
            beat()
            if packet.is_corrupt:
                damage.append(None)
            if packet.size:  # the last packet is empty: it flushes the decoder
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
    """Read the index of the best video stream, calling `beat` with each packet. Raise VideoError."""
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
        timestamps = Timestamps.of_index(seconds, kind)
        duration_s = _end(timestamps.seconds, float(packets.durations[order][-1:].sum()) * base, rate)
        end_s = duration_s + timestamps.skipped_s
        header_s = _header_duration_s(container, stream)
        # A header may count frames that an edit list hides: its count matters only where the duration falls short too.
        cut = stream.frames > len(packets.pts) and header_s - end_s > 1.5 / (rate or 25)
        damaged = packets.damaged or cut
        short = shortfall(end_s, header_s, len(order))
        return FrameIndex(
            path=path,
            name=name,
            container=kind,
            codec=stream.codec_context.codec.canonical_name,
            **vars(first),
            pts=packets.pts[order],
            keys=np.sort(packets.pts[packets.key]),
            seconds=timestamps.seconds,
            duration_s=duration_s,
            expected_frames=(stream.frames if cut else len(packets.pts)) - int(packets.hidden.sum()),
            header_duration_s=header_s,
            damaged=damaged,
            monotonic_dts=packets.monotonic_dts,
            exact=len(order) > 0 and not damaged,
            seekable=format_name in _SEEKABLE and bool(packets.key.any()),
            decord_risk=decord_risk(packets, container, stream, first),
            losses=() if damaged else _missing_end(path, kind) or short + timestamps.gaps(kind, damaged=False),
            notes=(() if first.orientation.right_angle else (_SLANTED,)) + timestamps.notes,
        )


def _missing_end(path: str, format_name: str) -> tuple[str, ...]:
    """Return a warning if the end of a GIF is missing, which no decoder reports, else ()."""
    if format_name != "gif":
        return ()
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - 64))
        return () if file.read().rstrip(b"\0").endswith(b";") else ("its end is missing",)


def _header_duration_s(container: "av.container.InputContainer", stream: "av.video.stream.VideoStream") -> float:
    """Return the duration of the video stream by the header; 0 where it cannot be told from that of the audio."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Some containers count from zero, not from their first frame.
    whole = (container.duration or 0) - max(0, container.start_time or 0)
    return whole / av.time_base if len(container.streams) == 1 else 0.0


def decord_risk(
    packets: Packets,
    container: "av.container.InputContainer",
    stream: "av.video.stream.VideoStream",
    first: FirstFrame,
) -> str | None:
    """Return in a few words why decord is not safe for this file, or None.

    decord 0.6 silently returns wrong frames or hangs on these; on all other files tested, its frames were right in any
    order of access.
    """
    codec = stream.codec_context.codec.canonical_name
    format_name = container.format.name.split(",")[0]
    risks = {
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
        "HDR": first.hdr is not None,
        f"narrower than {_MIN_DECORD_WIDTH} pixels": first.stored_width < _MIN_DECORD_WIDTH,
        "pixels that are not square": first.width != first.stored_width,
        "mirrored or slanted picture": first.orientation.mirrored or not first.orientation.right_angle,
    }
    return next((words for words, holds in risks.items() if holds), None)


def _end(seconds: npt.NDArray[np.float64], last_s: float, rate: float) -> float:
    """Return when the last frame ends, in seconds: by its own duration, else by the rate, else by the median step."""
    if not len(seconds):
        return 0.0
    step = 1 / rate if rate else float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    return float(seconds[-1] + (last_s or step))
