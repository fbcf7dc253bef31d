"""The way to a first answer: the video is decoded while the model loads and looks at the first frames."""

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dycoke_cli.cache.lookup import Look, look_up
from dycoke_cli.cache.store import Cache
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.clip import Clip
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.pending_frames import PendingFrames
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling, parse_time
from dycoke_cli.video.source import check_source
from dycoke_cli.video.stdin import STDIN

if TYPE_CHECKING:
    import torch

    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.models.families.family import Family, Outline, Size

RATE_SLACK = 0.01  # rates of containers are rounded, and 29.97 is what 30 is often called
FEW_FRAMES = 4  # below it no window of DyCoke is full, and methods that look at changes see hardly any
OPENING_S = 2.0  # how long to wait to hear that a file is no video before a model is loaded for it


@dataclass(frozen=True)
class Opened:
    """A video before a model, and the methods that are to run on it; its frames may still be on their way."""

    name: str  # of the model
    model: "Family"
    methods: "Sequence[Method]"
    frames: Frames
    clip: Clip
    load_model_s: float
    pending: PendingFrames
    look: Look | None = None  # what the cache of encoded videos has of it, or may get

    def complete(self, settings: Settings, callbacks: Callbacks) -> "Opened":
        """Wait for all frames. Raises a DyCokeError."""
        frames = self.pending.result(lambda done, total: callbacks.progress("Decoding the video", done, total))
        for warning in frames.info.warnings:
            if warning not in self.frames.info.warnings:  # read anew, they may have turned out otherwise
                callbacks.notice(warning)
        clip = Clip.of(frames, settings.start, settings.end, self.pending.seconds)
        return replace(self, frames=frames, clip=clip)


def open_video(
    video: str, settings: Settings, callbacks: Callbacks, methods: "Callable[[], Sequence[Method]]"
) -> Opened:
    """Decode a whole video while the model loads: `opening_video`, waited for. Raises a DyCokeError."""
    with opening_video(video, settings, callbacks, methods) as opened:
        return opened.complete(settings, callbacks)


@contextmanager
def opening_video(
    video: str,
    settings: Settings,
    callbacks: Callbacks,
    methods: "Callable[[], Sequence[Method]]",
    cache: Cache | None = None,
) -> Iterator[Opened]:
    """Decode a video while the model loads, and go on while the block runs.

    methods: makes what is to run; asked once the video is being decoded, because it needs torch. One that does not
    fit the model is refused without waiting for the video. Inside the block the pixels of the frames arrive: to take a
    part of them is to wait for it, and raises FramesReplacedError if the video has to be read another way, after which
    `complete` gives what came of it. A video that `cache` holds is not decoded. Raises a DyCokeError.
    """
    if video != STDIN:
        check_source(video)  # before its content is looked up, and before a model is fetched for it
    name = checkpoints.choose() if settings.model == "auto" else settings.model
    checkpoint = checkpoints.locate(name)
    sampling = sampling_of(settings, checkpoint.default_frames, rated=os.path.isdir(video))
    look = look_up(cache, video, sampling, settings, checkpoint) if cache is not None else None
    with VideoReader(settings.decoder, settings.video_timeout) as reader:
        pending, entry = None, look.entry if look is not None else None
        if entry is None:
            pending = start_reading(reader, video, settings, checkpoint.default_frames)
            pending.wait_until_opened(OPENING_S)
        callbacks.progress("Loading the model", 0, 0)
        callbacks.phase("load_model")
        began = time.perf_counter()
        # torch and transformers take seconds to import; the video decodes meanwhile.
        with _garbage_left():
            loading.refuse_broken_torchvision()
            from dycoke_cli.system.device import out_of_memory_explained

            chosen = methods()
            if name == "demo" and settings.model == "auto":  # whoever names it knows it
                callbacks.notice(checkpoints.DEMO_NOTICE)
            source = pending or entry
            with out_of_memory_explained():
                model = load_model(checkpoint, settings, chosen, source.size if source else None)
        load_model_s = time.perf_counter() - began
        callbacks.phase("")
        for method in chosen:
            method.check(model.facts)
        if pending is None and look is not None:
            pending = look.read(model, any(method.needs_saliency for method in chosen))
        if pending is None:
            pending = start_reading(reader, video, settings, checkpoint.default_frames)
        frames = pending.coming()
        clip = Clip.of(frames, settings.start, settings.end, pending)
        tell_of(frames, clip, settings, sampling, callbacks)
        yield Opened(name, model, chosen, frames, clip, load_model_s, pending, look)


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Do not look for garbage inside the block: what imports make stays, and looking at it again and again takes a
    fifth of their time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # Both together make what is there old without a look at it; the next look would be in the middle of an
            # answer, and at half a million objects, twice. Whoever has frozen objects wants them to stay so.
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def tell_of(frames: Frames, clip: Clip, settings: Settings, sampling: Sampling, callbacks: Callbacks) -> None:
    """Pass on what there is to know about the frames before an answer from them is believed."""
    for warning in frames.info.warnings:
        callbacks.notice(warning)
    for line in shortfalls(frames, settings, sampling, clip.duration_s):
        callbacks.notice(line)


def shortfalls(frames: Frames, settings: Settings, sampling: Sampling, window_s: float) -> Iterator[str]:
    """Say where the frames are fewer than were asked for, and why: the video has no more, or a limit cuts them.

    sampling: what the settings came to. window_s: how long the part of the video lasts that they are from.
    """
    info = frames.info
    if settings.frames is not None and len(frames) < settings.frames:
        cut = sampling.max_frames == len(frames)
        yield f"{settings.frames} frames were asked for; {'--max-frames leaves' if cut else 'there are'} {len(frames)}"
    if sampling.fps is None or not info.fps > 0:
        return
    if sampling.fps > info.fps * (1 + RATE_SLACK):
        yield f"{sampling.fps:g} frames a second were asked for; the video has {info.fps:.4g}"
    rate = min(sampling.fps, info.fps)
    wanted = math.floor((window_s - 1 / info.fps) * rate + RATE_SLACK) + 1
    if wanted > len(frames) == sampling.max_frames:
        whose = "--max-frames" if settings.max_frames else "the model's limit, which --max-frames can raise,"
        yield f"{rate:.4g} frames a second would be about {wanted}; {whose} leaves {len(frames)}, spread evenly"


def start_reading(reader: VideoReader, video: str, settings: Settings, default_frames: int) -> PendingFrames:
    """Start to read the frames that the settings want of a file, a folder of pictures or `-`."""
    sampling = sampling_of(settings, default_frames, rated=os.path.isdir(video))
    return reader.submit(video, sampling, rate=settings.fps)


def sampling_of(settings: Settings, default_frames: int, rated: bool = False) -> Sampling:
    """Say which frames to take: `default_frames` spread evenly unless the settings want something else.

    rated: `fps` is the rate of the pictures themselves, and says nothing about the choice.
    """
    start, end = (None if text is None else parse_time(text) for text in (settings.start, settings.end))
    fps = None if rated else settings.fps
    frames = settings.frames if settings.frames or fps else default_frames
    limit = settings.max_frames or (default_frames if fps else None)  # whoever counts frames means all of them
    return Sampling(frames, fps, limit, start, end, settings.sample)


def load_model(
    checkpoint: checkpoints.Checkpoint,
    settings: Settings,
    methods: "Sequence[Method]" = (),
    size: "Size | None" = None,
) -> "Family":
    """Load a model on the device, in the number format and with the layout that the settings ask for.

    methods: what is to run, if that is known; size: of the frames, if it is. Raises OutOfMemoryError for what cannot
    fit, before it is loaded.
    """
    from dycoke_cli.system.device import choose_device, choose_dtype

    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    wanted = {key: getattr(settings, key) for key in ("newline", "pooling", "row_newlines")}
    layout = {key: value for key, value in wanted.items() if value is not None}
    spread = settings.device_map == "auto"
    if settings.compile:
        _check_compiler(device, spread)
    if settings.memory == "check":
        _check_room(checkpoint, settings, methods, size, checkpoints.outline(checkpoint, **layout), device, dtype)
    return loading.load(checkpoint, device, dtype, settings.quantize, spread, **layout)


def _check_compiler(device: "torch.device", spread: bool) -> None:
    """Refuse what cannot be compiled before a model is loaded for it. Raises UsageError."""
    from dycoke_cli.engine.compiled import check_compiler

    if spread:
        raise UsageError("--compile is for a model on one device, and --device-map auto is several", "Leave one out")
    check_compiler(device)


def _check_room(
    checkpoint: checkpoints.Checkpoint,
    settings: Settings,
    methods: "Sequence[Method]",
    size: "Size | None",
    outline: "Outline",
    device: "torch.device",
    dtype: "torch.dtype",
) -> None:
    """Compare what a run takes with what the device has free. Frames whose size nobody knows yet count as HD ones."""
    from dycoke_cli.capacity.fit import plan, refuse_what_cannot_fit
    from dycoke_cli.models.families.family import HD
    from dycoke_cli.models.sizes import stored_sizes
    from dycoke_cli.system.free_memory import known_free_bytes

    sizes = stored_sizes(checkpoint.folder)
    frames = settings.frames or (settings.max_frames if settings.fps else None) or checkpoint.default_frames
    wanted = plan(checkpoint.name, outline, sizes, methods, frames, size or HD, settings, device, dtype.itemsize)
    refuse_what_cannot_fit(wanted, known_free_bytes(device, every=settings.device_map == "auto"))


def describe(name: str, model: "Family") -> dict[str, str]:
    """Name the model and how it runs, for records; the hub's revision where it has one."""
    from dycoke_cli.models.quantization import quantized

    language_model = model.language_model
    folder, quantize = checkpoints.find(name), quantized(model.model)
    revision = folder.name if folder is not None and folder.parent.name == "snapshots" else None
    return {
        "name": name,
        "family": model.family,
        "dtype": str(language_model.dtype).removeprefix("torch."),
        "device": str(language_model.device),
        **({"revision": revision} if revision else {}),
        **({"quantize": quantize} if quantize else {}),
    }
