"""The frames that really decode, counted: the index of files whose packets do not tell."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dycoke_cli.errors import VideoError
from dycoke_cli.video.container import open_container, video_stream
from dycoke_cli.video.frame_index import FrameIndex, shortfall
from dycoke_cli.video.pyav_reader import all_frames, use_threads
from dycoke_cli.video.timestamps import Timestamps

_MANY_MORE = 1.1  # times as many frames are worth a slower decoding; a few at a broken end are not


def count_frames(index: FrameIndex, beat: Callable[[], None]) -> FrameIndex:
    """Decodes the whole file and puts what is found in place of the index. Raises VideoError when nothing is."""
    # Where no header tells how long a video is, only a broken last picture tells that it was cut, and frame threads
    # do not always mark one.
    best = _Count.take(index, beat, many_threads=index.promised_s > 0)
    if best.errors and best.many_threads:  # frame threads may lose all that follows a damaged packet
        patient = _Count.take(index, beat, many_threads=False)
        if len(patient.times) > _MANY_MORE * len(best.times):
            best = patient
    found = len(best.times)
    if not found:
        raise VideoError(
            f"Not one frame of {index.name} can be decoded.", "Copy or download it again.", reason="no_frames"
        )
    clock = Timestamps.of_frames(best.times, best.step_s, index.container, index.one_clock)
    duration_s = float(clock.seconds[-1] + clock.step_s)
    damaged = bool(best.errors or best.corrupt or index.damaged)
    if found < index.promised and (best.errors or index.damaged):
        lost: tuple[str, ...] = (f"only {found} of {index.promised} frames can be read",)
    else:
        lost = shortfall(duration_s + clock.skipped_s, index.promised_s, found)
    lost += clock.holes(index.container, damaged)
    if best.corrupt:
        lost += (f"damaged pictures: {best.corrupt} of {found}",)
    return replace(
        index,
        seconds=clock.seconds,
        duration_s=duration_s,
        places=clock.places,
        one_thread=not best.many_threads,
        losses=lost,
        notes=tuple(dict.fromkeys(index.notes + clock.notes)),
    )


@dataclass
class _Count:
    """What one decoding of the whole file gives."""

    many_threads: bool
    step_s: float = 0.04
    times: list[float | None] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    corrupt: int = 0

    @classmethod
    def take(cls, index: FrameIndex, beat: Callable[[], None], many_threads: bool) -> "_Count":
        census = cls(many_threads)
        with open_container(index.path, index.name) as container:
            stream = video_stream(container, index.name)
            use_threads(stream, many_threads)
            if stream.average_rate:
                census.step_s = 1 / float(stream.average_rate)
            for frame in all_frames(container, stream, beat, census.errors):
                census.times.append(frame.time)
                census.corrupt += frame.is_corrupt
        return census
