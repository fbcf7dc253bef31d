"""From a path to a model and a video: decoding, loading the model and encoding the first frames overlap."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dycoke_cli.cache.lookup import look_up
from dycoke_cli.cache.store import Cache
from dycoke_cli.config.settings import Settings
from dycoke_cli.models.checkpoints import Checkpoint
from dycoke_cli.session.frame_request import sampling_of, shortfalls
from dycoke_cli.session.load import choose_checkpoint, load_model, notice_demo
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.garbage import collector_paused
from dycoke_cli.video.clip import Clip
from dycoke_cli.video.reader import VideoReader

if TYPE_CHECKING:
    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.models.families.family import Family

REJECT_S = 2.0  # longest wait for the decoder to reject a file before a model is loaded for it


@dataclass(frozen=True)
class Opened:
    """A loaded model, the methods that are to run, and a video whose frames may still be decoding."""

    checkpoint: Checkpoint
    model: "Family"
    methods: "Sequence[Method]"
    video: Video
    load_model_s: float

    @property
    def clip(self) -> Clip:
        """The frames of the video in their window."""
        return self.video.clip

    def complete(self, callbacks: Callbacks) -> None:
        """Wait until all frames are decoded. Raises a DyCokeError."""
        self.video.wait(lambda done, total: callbacks.progress("Decoding the video", done, total))
        self.video.warn(callbacks.notice)  # a decoder that replaced the first may have others


def open_video(
    path: str, settings: Settings, callbacks: Callbacks, methods: "Callable[[], Sequence[Method]]"
) -> Opened:
    """Decode a whole video while the model loads. Raises a DyCokeError."""
    with opening_video(path, settings, callbacks, methods) as opened:
        opened.complete(callbacks)
        return opened


@contextmanager
def opening_video(
    path: str,
    settings: Settings,
    callbacks: Callbacks,
    methods: "Callable[[], Sequence[Method]]",
    cache: Cache | None = None,
) -> Iterator[Opened]:
    """Decode a video while the model loads, and while the block runs; a video in `cache` is not decoded.

    path: from `readable_path`. methods: returns what is to run; called while the video decodes, because it imports
    torch. Model and video are checked against the device's free memory before the model is loaded. Raises a
    DyCokeError.
    """
    checkpoint = choose_checkpoint(settings)
    with VideoReader(settings.decoder, settings.video_timeout) as reader:
        video = request_video(path, settings, checkpoint, reader, cache)
        video.wait_until_opened(REJECT_S)
        callbacks.progress("Loading the model", 0, 0)
        callbacks.phase("load_model")
        began = time.perf_counter()
        with collector_paused():
            chosen = methods()
            notice_demo(checkpoint, settings, callbacks)
            model = load_model(checkpoint, settings, chosen, video.size)
        load_model_s = time.perf_counter() - began
        callbacks.phase("")
        video.prepare(model, any(method.needs_saliency for method in chosen))
        report_frames(video, settings, callbacks)
        yield Opened(checkpoint, model, chosen, video, load_model_s)


def request_video(
    path: str, settings: Settings, checkpoint: Checkpoint, reader: VideoReader, cache: Cache | None
) -> Video:
    """Look a video up in the cache, and start decoding the frames that the settings ask for where it is not there."""
    sampling = sampling_of(settings, checkpoint.default_frames, rated=os.path.isdir(path))
    lookup = look_up(cache, path, sampling, settings, checkpoint)
    return Video(lambda: reader.submit(path, sampling, settings.fps), sampling, settings.start, settings.end, lookup)


def report_frames(video: Video, settings: Settings, callbacks: Callbacks) -> None:
    """Notify the user of the decoder's warnings, and of fewer frames than the settings ask for."""
    video.warn(callbacks.notice)
    for line in shortfalls(video.clip, settings, video.sampling):
        callbacks.notice(line)
