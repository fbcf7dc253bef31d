"""Run a comparison: every arm answers one question about one video, several times, in alternating order."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from dycoke_cli.comparison.depth import Depth, computed
from dycoke_cli.comparison.result import Comparison, Run
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.arm import Arm, refuse_duplicates
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED, STOCKS
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
    compiling_s: list[float] = field(default_factory=list)  # total times of unmeasured runs that compiled


def compare(
    video: str,
    question: str,
    arms: Sequence[Arm],
    settings: Settings,
    stock: bool = False,
    repeats: int = 3,
    trace: bool = False,
    callbacks: Callbacks = SILENT,
    compiled_stock: bool = False,
) -> Comparison:
    """Answer one question with every arm, `repeats` times in turns, each run separate, from the same decoded frames.

    stock: include transformers' own `generate`. compiled_stock: include it with a static cache and a compiled forward.
    trace: record which tokens each step of this engine reads.
    Every arm runs once unmeasured. Each repeat starts with another arm, so that no arm always runs first. Each run
    encodes, compresses, prefills and decodes again; its peak memory is measured from its start. The video is decoded
    once, and this time is included in every run.
    Raises a DyCokeError for every error of the user; if an arm cannot run at all, before any arm runs.
    """
    if compiled_stock:
        _check_compiled_stock(settings)
    stocks = [STOCK] * stock + [STOCK_COMPILED] * compiled_stock
    opened = open_video(readable_path(video), settings, callbacks, lambda: [arm.method for arm in arms] or [Full()])
    model, frames = opened.model, opened.clip.frames
    prepared = [_ours(model, opened.video, arm, question, settings, trace) for arm in arms]
    refuse_duplicates([arm for _, arm in prepared])
    ready = [ready_arm for ready_arm, _ in prepared]
    reference = next((arm.label for arm in arms if arm.method == Full()), None)
    place = 1 if arms and reference == arms[0].label else 0
    ready[place:place] = [_stock(model, opened.video, question, settings, callbacks, label) for label in stocks]
    if len(frames) < FEW_FRAMES and any(arm.label != reference for arm in arms):
        callbacks.notice(f"Fewer than {FEW_FRAMES} frames leave little to compare: expect little from any method")
    runs = tuple(_measured(ready, repeats, TextShape.of(model.language_model.body.config), callbacks, settings.compile))
    machine = machine_facts(model.language_model.device)
    described, load_model_s = describe(opened.checkpoint.name, model), opened.load_model_s
    compiling_s = {arm.described["label"]: tuple(arm.compiling_s) for arm in ready if arm.compiling_s}
    return Comparison(frames, question, described, machine, load_model_s, reference, runs, compiling_s)


def _check_compiled_stock(settings: Settings) -> None:
    """Raise UsageError if the forward of transformers cannot be compiled on the device of the settings."""
    from dycoke_cli.engine.compiled import check_compiler
    from dycoke_cli.system.device import choose_device

    if settings.device_map == "auto":
        raise UsageError(
            f"{STOCK_COMPILED} is for a model on one device, and --device-map auto is several", "Leave one out"
        )
    check_compiler(choose_device(settings.device), STOCK_COMPILED)


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


def _stock(
    model: "Family", video: Video, question: str, settings: Settings, callbacks: Callbacks, label: str
) -> ReadyArm:
    """Prepare transformers' own `generate`; label: one of `STOCKS`."""
    from dycoke_cli.capacity.context import answer_budget, check_context, uncompressed_positions
    from dycoke_cli.comparison.stock import StockGenerate

    instead = "no --baseline" if label == STOCK else f"no {label}"
    check_context(model, Full(), settings, video.clip, [question], label, instead)
    positions = uncompressed_positions(model, video.clip, question)
    room = answer_budget(
        model.language_model.context, positions, settings.max_new_tokens, callbacks, label, "Fewer frames make room"
    )
    stock = StockGenerate(model, video, room, label)
    depth = Depth.of(Full(), model.facts.layers)
    return ReadyArm(stock.described, depth, lambda: stock.answer(question), stock.compiling_s)


def _measured(
    arms: Sequence[ReadyArm], repeats: int, shape: TextShape, callbacks: Callbacks, compiled: bool
) -> Iterator[Run]:
    """Run each arm once unmeasured, then in turns; yield the measured runs.

    compiled: the first run of each arm of this engine compiles its decode steps.
    """
    total = len(arms) * (repeats + 1)
    for done, (repeat, turn, arm) in enumerate(turns(arms, repeats)):
        label = arm.described["label"]
        callbacks.progress("Warming up" if repeat < 0 else f"Measuring {label}", done, total)
        gc.collect()  # so that reference cycles of earlier runs do not count in this run's memory
        answer = arm.run()
        if repeat >= 0:
            yield Run(label, arm.described, repeat, turn, answer, computed(answer, shape, arm.depth))
        elif compiled and label not in STOCKS:
            arm.compiling_s.append(answer.time_s.total)


def turns(arms: Sequence[T], repeats: int) -> Iterator[tuple[int, int, T]]:
    """Yield (repeat, turn within it, arm): repeat -1 is the warm-up, and each later repeat starts with another arm."""
    for repeat in range(-1, repeats):
        first = max(repeat, 0) % len(arms)
        for turn, arm in enumerate([*arms[first:], *arms[:first]]):
            yield repeat, turn, arm
