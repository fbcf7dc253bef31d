"""Ask a video questions: the whole story, and the library's front door."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dycoke_cli import checkpoints
from dycoke_cli.answer import Answer
from dycoke_cli.clip import Clip
from dycoke_cli.listener import Listener
from dycoke_cli.settings import Settings
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.guard import VideoReader
from dycoke_cli.video.pending import PendingFrames
from dycoke_cli.video.sampling import Sampling, parse_time

if TYPE_CHECKING:
    from dycoke_cli.families.llava import Llava

FEW_FRAMES = 4  # below it no window of DyCoke is full, and methods that look at changes see hardly any
OPENING_S = 2.0  # how long to wait to hear that a file is no video before a model is loaded for it


@dataclass(frozen=True)
class Outcome:
    """All that a run has to say."""

    frames: Frames
    model: dict[str, str]  # name, family, dtype, device
    method: dict[str, Any]  # name, options
    answers: tuple[Answer, ...]
    baseline: tuple[Answer, ...]  # the uncompressed run's, if one was made
    load_model_s: float


def ask(
    video: str,
    questions: Sequence[str],
    settings: Settings,
    baseline: bool = False,
    trace: bool = False,
    listener: Listener | None = None,
) -> Outcome:
    """Answer questions about one video: a file, a folder of pictures, or `-` for what is piped in.

    baseline: run once more without compression, on the same engine, frames and dtype. trace: record which tokens.
    Raises a DyCokeError for whatever a user can act on.
    """
    listener = listener or Listener()
    name = checkpoints.choose() if settings.model == "auto" else settings.model
    checkpoint = checkpoints.locate(name)
    with VideoReader(settings.decoder, settings.video_timeout) as reader:
        pending = start_reading(reader, video, settings, checkpoint.default_frames)
        pending.wait_until_opened(OPENING_S)
        if name == "demo":
            listener.notice(checkpoints.DEMO_NOTICE)
        listener.progress("Loading the model", 0, 0)
        began = time.perf_counter()
        # torch and transformers take seconds to import; the video decodes meanwhile.
        checkpoints.refuse_broken_torchvision()
        from dycoke_cli.device import out_of_memory_explained
        from dycoke_cli.methods.full import Full
        from dycoke_cli.methods.options import make_method, method_options
        from dycoke_cli.session import Session

        method = make_method(settings.method, settings.options)
        with out_of_memory_explained():
            model = load_model(checkpoint, settings)
        load_model_s = time.perf_counter() - began
        frames = pending.result(lambda done, total: listener.progress("Decoding the video", done, total))
    tell_of(frames, settings, listener)
    clip = Clip.of(frames, settings.start, settings.end, pending.seconds)
    session = Session(model, clip, method, settings)
    method = session.method  # a budget has become options
    if len(frames) < FEW_FRAMES and method.name != "full":
        listener.notice(f"Fewer than {FEW_FRAMES} frames leave little to compare: expect little from {method.name}")
    if baseline:
        listener.progress("Warming up", 0, 0)
        session.warm_up()
    answers = tuple(session.answers(questions, listener, trace))
    silent = Listener(progress=listener.progress)
    unlimited = settings.model_copy(update={"retain": None})
    plain = tuple(Session(model, clip, Full(), unlimited).answers(questions, silent)) if baseline else ()
    described = {"name": method.name, "options": method_options(method)}
    return Outcome(frames, describe(name, model), described, answers, plain, load_model_s)


def tell_of(frames: Frames, settings: Settings, listener: Listener) -> None:
    """Pass on what there is to know about the frames before an answer from them is believed."""
    for warning in frames.info.warnings:
        listener.notice(warning)
    if settings.frames is not None and len(frames) < settings.frames:
        listener.notice(f"{settings.frames} frames were asked for; there are {len(frames)}")


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
    return Sampling(frames, fps, settings.max_frames or default_frames, start, end, settings.sample)


def load_model(checkpoint: checkpoints.Checkpoint, settings: Settings) -> "Llava":
    """Load a model on the device, in the number format and with the layout that the settings ask for."""
    from dycoke_cli.device import choose_device, choose_dtype

    device = choose_device(settings.device)
    wanted = {key: getattr(settings, key) for key in ("newline", "pooling", "row_newlines")}
    layout = {key: value for key, value in wanted.items() if value is not None}
    return checkpoints.load(checkpoint, device, choose_dtype(settings.dtype, device), **layout)


def describe(name: str, model: "Llava") -> dict[str, str]:
    """Name the model and how it runs, for records."""
    language_model = model.language_model
    return {
        "name": name,
        "family": model.family,
        "dtype": str(language_model.dtype).removeprefix("torch."),
        "device": str(language_model.device),
    }
