"""Index a video by decoding all of it, for files whose packets do not describe every frame."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dycoke_cli.errors import VideoError
from dycoke_cli.video.container import open_container, video_stream
from dycoke_cli.video.frame_index import FrameIndex, shortfall
from dycoke_cli.video.pyav_reader import all_frames, use_threads
from dycoke_cli.video.timestamps import Timestamps

_WORTHWHILE = 1.1  # times as many frames justify slower decoding on one thread; a few at a broken end do not


def count_frames(index: FrameIndex, beat: Callable[[], None]) -> FrameIndex:
    """Decode the whole file and return the index with what decoded. Raise VideoError if no frame does."""
    # Without a duration in the header, only a broken last frame reveals that a file was cut, and frame threads do not
    # always mark one.
    best = _DecodePass.run(index, beat, many_threads=index.header_duration_s > 0)
    if best.errors and best.many_threads:  # frame threads may lose all frames after a damaged packet
        single = _DecodePass.run(index, beat, many_threads=False)
        if len(single.times) > _WORTHWHILE * len(best.times):
            best = single
    found = len(best.times)
    if not found:
        raise VideoError(
            f"Not one frame of {index.name} can be decoded.", "Copy or download it again.", reason="no_frames"
        )
    timestamps = Timestamps.of_frames(best.times, best.step_s, index.container, index.monotonic_dts)
    duration_s = float(timestamps.seconds[-1] + timestamps.step_s)
    damaged = bool(best.errors or best.corrupt or index.damaged)
    if found < index.expected_frames and (best.errors or index.damaged):
        losses: tuple[str, ...] = (f"only {found} of {index.expected_frames} frames can be read",)
    else:
        losses = shortfall(duration_s + timestamps.skipped_s, index.header_duration_s, found)
    losses += timestamps.gaps(index.container, damaged)
    if best.corrupt:
        losses += (f"damaged pictures: {best.corrupt} of {found}",)
    return replace(
        index,
        seconds=timestamps.seconds,
        duration_s=duration_s,
        places=timestamps.places,
        one_thread=not best.many_threads,
        losses=losses,
        notes=tuple(dict.fromkeys(index.notes + timestamps.notes)),
    )


@dataclass
class _DecodePass:
    """The frames and errors of one decoding of the whole file."""

    many_threads: bool
    step_s: float = 0.04  # by the average rate
    times: list[float | None] = field(default_factory=list)  # seconds; None: a frame without a time
    errors: list[Exception] = field(default_factory=list)
    corrupt: int = 0  # frames that the decoder marks as damaged

    @classmethod
    def run(cls, index: FrameIndex, beat: Callable[[], None], many_threads: bool) -> "_DecodePass":
        """Decode all frames, calling `beat` with each packet."""
        result = cls(many_threads)
        with open_container(index.path, index.name) as container:
            stream = video_stream(container, index.name)
            use_threads(stream, many_threads)
            if stream.average_rate:
                result.step_s = 1 / float(stream.average_rate)
            for frame in all_frames(container, stream, beat, result.errors):
                result.times.append(frame.time)
                result.corrupt += frame.is_corrupt
        return result
