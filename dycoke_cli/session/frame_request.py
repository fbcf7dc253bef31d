"""Which frames of a video the settings ask for, and where a video has fewer."""

import math
import os
from collections.abc import Iterator

from dycoke_cli.config.settings import Settings
from dycoke_cli.video.clip import Clip
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling, parse_time

RATE_SLACK = 0.01  # containers round rates: 29.97 is often written as 30
FEW_FRAMES = 4  # with fewer, no window of DyCoke is full, and methods that compare frames have hardly any to compare


def sampling_of(settings: Settings, default_frames: int, rated: bool = False) -> Sampling:
    """Return which frames to take: `default_frames` spread evenly unless the settings ask for others.

    rated: the video is a folder of images, whose rate `fps` is, and not a choice of frames.
    """
    start, end = (None if text is None else parse_time(text) for text in (settings.start, settings.end))
    fps = None if rated else settings.fps
    frames = settings.frames if settings.frames or fps else default_frames
    limit = settings.max_frames or (default_frames if fps else None)  # --frames N has no limit but N
    return Sampling(frames, fps, limit, start, end, settings.sample)


def start_decoding(reader: VideoReader, video: str, settings: Settings, default_frames: int) -> PendingFrames:
    """Start decoding the frames that the settings ask for, of a file, a folder of images or `-` for stdin."""
    return reader.submit(video, sampling_of(settings, default_frames, rated=os.path.isdir(video)), rate=settings.fps)


def shortfalls(clip: Clip, settings: Settings, sampling: Sampling) -> Iterator[str]:
    """Yield a sentence for each way in which a clip has fewer frames than were asked for, with the reason.

    sampling: as `sampling_of` made it from the settings.
    """
    frames, info = clip.frames, clip.frames.info
    if settings.frames is not None and len(frames) < settings.frames:
        cut = sampling.max_frames == len(frames)
        yield f"{settings.frames} frames were asked for; {'--max-frames leaves' if cut else 'there are'} {len(frames)}"
    if sampling.fps is None or not info.fps > 0:
        return
    if sampling.fps > info.fps * (1 + RATE_SLACK):
        yield f"{sampling.fps:g} frames a second were asked for; the video has {info.fps:.4g}"
    rate = min(sampling.fps, info.fps)
    wanted = math.floor((clip.duration_s - 1 / info.fps) * rate + RATE_SLACK) + 1
    if wanted > len(frames) == sampling.max_frames:
        whose = "--max-frames" if settings.max_frames else "the model's limit, which --max-frames can raise,"
        yield f"{rate:.4g} frames a second would be about {wanted}; {whose} leaves {len(frames)}, spread evenly"
