"""Ask a video questions: open it, answer with a method, and with an uncompressed baseline if wanted."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dycoke_cli.cache.store import open_cache
from dycoke_cli.config.settings import Settings
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.frame_request import FEW_FRAMES
from dycoke_cli.session.load import describe
from dycoke_cli.session.pipeline import Opened, opening_video
from dycoke_cli.session.question import check_question
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.timeline import Span, StartUp, Timeline
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.path import readable_path

if TYPE_CHECKING:
    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.session.session import Session


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    frames: Frames
    model: dict[str, str]  # name, family, dtype, device
    method: dict[str, Any]  # name, options
    answers: tuple[Answer, ...]
    baseline: tuple[Answer, ...]  # the uncompressed run's, if one was made
    load_model_s: float
    timeline: tuple[Span, ...] = ()
    startup: StartUp | None = None
    features: str = "computed"  # or "cache": they were read from disk, and neither decoder nor vision tower ran


def ask(
    video: str,
    questions: Sequence[str],
    settings: Settings,
    baseline: bool = False,
    trace: bool = False,
    callbacks: Callbacks | None = None,
) -> Outcome:
    """Answer questions about one video: a file, a folder of images, or `-` for stdin.

    baseline: run once more without compression, on the same engine, frames and dtype. trace: record which tokens.
    Raises a DyCokeError for whatever a user can act on.
    """
    path = readable_path(video)
    for question in questions:
        check_question(question)
    timeline = Timeline()
    callbacks = timeline.recording(callbacks or Callbacks())

    # What is measured is not read from a cache.
    cache = None if baseline else open_cache(settings)
    with opening_video(path, settings, callbacks, partial(_methods, settings, baseline), cache) as opened:
        if baseline:
            opened.complete(callbacks)  # both runs start from the same state: all frames decoded
        method, answers, plain = _answers(opened, questions, settings, baseline, trace, callbacks)
    pending = opened.video.pending
    opened.video.save(callbacks.notice)
    timeline.add("decode_video", pending.began, pending.began + pending.seconds)
    return Outcome(
        frames=pending.result(),
        model=describe(opened.checkpoint.name, opened.model),
        method={"name": method.name, "options": method.options()},
        answers=answers,
        baseline=plain,
        load_model_s=opened.load_model_s,
        timeline=timeline.spans(pending.waited_s, pending.cpu_s),
        startup=timeline.startup,
        features=opened.video.features,
    )


def _methods(settings: Settings, baseline: bool) -> "list[Method]":
    """Make the methods to run; the baseline comes last, as it takes the most memory."""
    from dycoke_cli.methods.full import Full
    from dycoke_cli.methods.options import make_method

    return [make_method(settings.method, settings.options), *([Full()] if baseline else [])]


def _answers(
    opened: Opened, questions: Sequence[str], settings: Settings, baseline: bool, trace: bool, callbacks: Callbacks
) -> "tuple[Method, tuple[Answer, ...], tuple[Answer, ...]]":
    """Return the method with its budget as options, its answers, and those of the uncompressed run if one is made."""
    from dycoke_cli.methods.full import Full
    from dycoke_cli.session.session import Session

    session = Session(opened.model, opened.video, opened.methods[0], settings)
    session.check_context(questions)
    method, full = session.method, None
    if baseline:
        full = Session(opened.model, opened.video, Full(), settings.model_copy(update={"retain": None}))
        full.check_context(questions, "the uncompressed run", "no --baseline")
    if len(opened.clip.frames) < FEW_FRAMES and method.name != "full":
        callbacks.notice(f"Fewer than {FEW_FRAMES} frames leave little to compare: expect little from {method.name}")
    _warm_up(session, settings, baseline, callbacks)
    answers = tuple(session.answers(questions, callbacks, trace))
    if full is None:
        return method, answers, ()
    callbacks.phase("baseline")
    _warm_up(full, settings, False, callbacks)  # its steps are of another kind
    plain = tuple(full.answers(questions, Callbacks(progress=callbacks.progress)))
    callbacks.phase("")
    return method, answers, plain


def _warm_up(session: "Session", settings: Settings, compared: bool, callbacks: Callbacks) -> None:
    """Warm a session up if it is compared with another, or if its decode steps are compiled."""
    if settings.compile:
        callbacks.progress("Compiling the decode step", 0, 0)
        began = time.perf_counter()
        session.warm_up()
        callbacks.notice(f"Compiled the decode step of {session.method.name} in {time.perf_counter() - began:.1f} s")
    elif compared:
        callbacks.progress("Warming up", 0, 0)
        session.warm_up()
