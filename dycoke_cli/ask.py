"""Ask a video questions: the whole story, and the library's front door."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dycoke_cli.answer import Answer
from dycoke_cli.listener import Listener
from dycoke_cli.opening import FEW_FRAMES, describe, open_video
from dycoke_cli.settings import Settings
from dycoke_cli.video.frames import Frames

if TYPE_CHECKING:
    from dycoke_cli.methods import Method


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

    def chosen() -> "list[Method]":
        from dycoke_cli.methods.full import Full
        from dycoke_cli.methods.options import make_method

        # The baseline comes last: it takes the most memory.
        return [make_method(settings.method, settings.options), *([Full()] if baseline else [])]

    opened = open_video(video, settings, listener, chosen)
    from dycoke_cli.methods.full import Full
    from dycoke_cli.methods.options import method_options
    from dycoke_cli.session import Session

    model, frames, clip = opened.model, opened.frames, opened.clip
    session = Session(model, clip, opened.methods[0], settings)
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
    return Outcome(frames, describe(opened.name, model), described, answers, plain, opened.load_model_s)
