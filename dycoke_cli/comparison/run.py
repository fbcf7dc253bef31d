"""Run a comparison: every arm answers one question about one video, several times, in alternating order."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from dycoke_cli.comparison.depth import Depth, computed
from dycoke_cli.comparison.result import Comparison, Run
from dycoke_cli.config.settings import Settings
from dycoke_cli.methods.arm import Arm, refuse_duplicates
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.parsing import STOCK
from dycoke_cli.models.flops import TextShape
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.frame_request import FEW_FRAMES
from dycoke_cli.session.load import describe
from dycoke_cli.session.pipeline import open_video
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.video.path import readable_path

if TYPE_CHECKING:
    from dycoke_cli.models.families.family import Family

SILENT = Callbacks()
T = TypeVar("T")


@dataclass(frozen=True)
class ReadyArm:
    """One arm, ready to run repeatedly."""

    described: dict[str, Any]
    depth: Depth
    run: Callable[[], Answer]


def compare(
    video: str,
    question: str,
    arms: Sequence[Arm],
    settings: Settings,
    stock: bool = False,
    repeats: int = 3,
    trace: bool = False,
    callbacks: Callbacks = SILENT,
) -> Comparison:
    """Answer one question with every arm, `repeats` times in turns, each run separate, from the same decoded frames.

    stock: include transformers' own `generate`. trace: record which tokens each step of this engine reads.
    Every arm runs once unmeasured. Each repeat starts with another arm, so that no arm always runs first. Each run
    encodes, compresses, prefills and decodes again; its peak memory is measured from its start. The video is decoded
    once, and this time is included in every run.
    Raises a DyCokeError for every error of the user; if an arm cannot run at all, before any arm runs.
    """
    opened = open_video(readable_path(video), settings, callbacks, lambda: [arm.method for arm in arms])
    model, frames = opened.model, opened.clip.frames
    prepared = [_ours(model, opened.video, arm, question, settings, trace) for arm in arms]
    refuse_duplicates([arm for _, arm in prepared])
    ready = [ready_arm for ready_arm, _ in prepared]
    reference = next((arm.label for arm in arms if arm.method == Full()), None)
    if stock:
        ready.insert(1 if reference == arms[0].label else 0, _stock(model, opened.video, question, settings, callbacks))
    if len(frames) < FEW_FRAMES and any(arm.label != reference for arm in arms):
        callbacks.notice(f"Fewer than {FEW_FRAMES} frames leave little to compare: expect little from any method")
    runs = tuple(_measured(ready, repeats, TextShape.of(model.language_model.body.config), callbacks))
    machine = machine_facts(model.language_model.device)
    return Comparison(
        frames, question, describe(opened.checkpoint.name, model), machine, opened.load_model_s, reference, runs
    )


def _ours(
    model: "Family", video: Video, arm: Arm, question: str, settings: Settings, trace: bool
) -> tuple[ReadyArm, Arm]:
    """Prepare an arm of this engine; also return the arm, with options set to meet the budget."""
    from dycoke_cli.session.session import Session

    # The budget applies to the compressing arms only, not to the uncompressed baseline.
    own = settings.model_copy(update={"retain": None}) if arm.baseline else settings
    session = Session(model, video, arm.method, own)
    session.check_context([question], f"method {arm.label}", arm.context_remedy)

    def run() -> Answer:
        (answer,) = session.answers([question], SILENT, trace)
        return answer

    within = replace(arm, method=session.method)
    return ReadyArm(within.described, Depth.of(session.method, model.facts.layers), run), within


def _stock(model: "Family", video: Video, question: str, settings: Settings, callbacks: Callbacks) -> ReadyArm:
    """Prepare transformers' own `generate`."""
    from dycoke_cli.capacity.context import answer_budget, check_context, uncompressed_positions
    from dycoke_cli.comparison.stock import StockGenerate

    check_context(model, Full(), settings, video.clip, [question], STOCK, "no --baseline")
    positions = uncompressed_positions(model, video.clip, question)
    room = answer_budget(
        model.language_model.context, positions, settings.max_new_tokens, callbacks, STOCK, "Fewer frames make room"
    )
    stock = StockGenerate(model, video, room)
    return ReadyArm(stock.described, Depth.of(Full(), model.facts.layers), lambda: stock.answer(question))


def _measured(arms: Sequence[ReadyArm], repeats: int, shape: TextShape, callbacks: Callbacks) -> Iterator[Run]:
    """Run each arm once unmeasured, then in turns; yield the measured runs."""
    total = len(arms) * (repeats + 1)
    for done, (repeat, turn, arm) in enumerate(turns(arms, repeats)):
        label = arm.described["label"]
        callbacks.progress("Warming up" if repeat < 0 else f"Measuring {label}", done, total)
        gc.collect()  # so that reference cycles of earlier runs do not count in this run's memory
        answer = arm.run()
        if repeat >= 0:
            yield Run(label, arm.described, repeat, turn, answer, computed(answer, shape, arm.depth))


def turns(arms: Sequence[T], repeats: int) -> Iterator[tuple[int, int, T]]:
    """Yield (repeat, turn within it, arm): repeat -1 is the warm-up, and each later repeat starts with another arm."""
    for repeat in range(-1, repeats):
        first = max(repeat, 0) % len(arms)
        for turn, arm in enumerate([*arms[first:], *arms[:first]]):
            yield repeat, turn, arm
