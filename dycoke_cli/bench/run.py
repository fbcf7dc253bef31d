"""Run a bench: time every arm on every case, in turns, and measure peak memory and the machine's limits."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import torch

from dycoke_cli.bench.arms import AFTER, BEFORE, BenchArm, make_arms
from dycoke_cli.bench.case import AssemblyTrial, BenchResult, Case, Counts, MinimumWork, Run, TowerTrial
from dycoke_cli.bench.inputs import Noise, Source, source_of, synthetic_rows
from dycoke_cli.bench.limits import measure_limits
from dycoke_cli.bench.peak import peaks_apart
from dycoke_cli.bench.plan import Plan, with_compilers
from dycoke_cli.comparison.depth import Depth, keys_by_step, visual_by_layer
from dycoke_cli.comparison.run import turns
from dycoke_cli.comparison.stock_config import CompileFailed, options_of
from dycoke_cli.errors import OutOfMemoryError
from dycoke_cli.methods.arm import Arm, refuse_duplicates
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.models.flops import TextShape, VisionShape, true_flops, vision_flops
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.session.video import TOGETHER
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import choose_device, choose_dtype, cpu_threads, out_of_memory_explained, suitable_threads
from dycoke_cli.system.free_memory import free_bytes
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.system.measure import Stopwatch
from dycoke_cli.tokens import VisualTokens

TOWER_FRAMES = {"cpu": 4, "cuda": 16}  # frames on which the vision tower alone is timed


def bench(plan: Plan, callbacks: Callbacks, save: Callable[[BenchResult], None] | None = None) -> BenchResult:
    """Measure all of `plan`; after an interruption, return the measurements so far.

    save: called with these after each case, so that a process which is killed later leaves them.

    Each arm runs every case once unmeasured, then the arms take turns on the same weights and inputs; each repeat
    starts with another arm. One more run of each arm measures its peak: from the CUDA allocator, after all arms have
    released their memory, or on a CPU in a separate process. An arm that runs out of memory, or whose forward
    transformers cannot compile, is recorded as a failure and skipped. Raises a DyCokeError before anything is allocated
    if the plan cannot run at all.
    """
    device = choose_device(plan.settings.device)
    dtype = choose_dtype(plan.settings.dtype, device)
    plan = with_compilers(plan, device, callbacks)
    outline = plan.shape.outline(dtype)
    for arm in plan.arms:
        arm.method.check(outline.facts)
    refuse_duplicates(plan.arms)
    with cpu_threads(plan.threads):
        result = _empty_result(plan, outline, device, dtype)
        callbacks.progress("Building the network", 0, 0)
        progress = _Progress(plan, device, callbacks)
        try:
            _timings(plan, result, device, dtype, progress, save or (lambda result: None))
            if device.type == "cpu":
                for label in (arm["label"] for arm in result.arms):
                    progress.report(f"Peak memory of {label}")
                    _peaks(plan, result, label)
        except KeyboardInterrupt:
            if result.limits is None:
                raise
            result.interrupted = True
    return result


class _Progress:
    """The progress of a bench, in units of work."""

    def __init__(self, plan: Plan, device: torch.device, callbacks: Callbacks) -> None:
        labels = [*plan.stocks, *(arm.label for arm in plan.arms)]
        runs = sum(plan.runs(label, number) for label in labels for number in range(len(plan.cases)))
        towers = any(case.vision for case in plan.cases)
        merges = towers and _merging_arm(plan) is not None
        peaks = len(labels) if device.type == "cpu" else 0
        self.total = 1 + towers + merges + runs * (plan.repeats + 1) + peaks
        self.done, self.callbacks = 0, callbacks

    def report(self, task: str) -> None:
        """Report the task that starts now; it is one unit of work."""
        self.callbacks.progress(task, self.done, self.total)
        self.done += 1


def _empty_result(plan: Plan, outline: Llava, device: torch.device, dtype: torch.dtype) -> BenchResult:
    """Return the record with everything that is known before the first run."""
    shape = {
        "name": plan.shape.name,
        "layers": plan.shape.layers,
        "parameters": sum(weight.numel() for weight in outline.model.parameters()),
        "weight_bytes": outline.weight_bytes,
        "dtype": str(dtype).removeprefix("torch."),
        "device": str(device),
    }
    return BenchResult(
        shape,
        machine_facts(device),
        [
            *({"label": label, "name": label, "options": options_of(label)} for label in plan.stocks),
            *(arm.described for arm in plan.arms),
        ],
        list(plan.cases),
        plan.repeats,
        compiled=plan.settings.compile,
        video=plan.video,
    )


def _timings(
    plan: Plan,
    result: BenchResult,
    device: torch.device,
    dtype: torch.dtype,
    progress: _Progress,
    save: Callable[[BenchResult], None],
) -> None:
    """Measure the limits, the parts that are timed alone, and all arms; the network is freed afterwards."""
    with out_of_memory_explained():
        model = plan.shape.build(device, dtype, free_bytes(device))
    with suitable_threads(device, model.weight_bytes), source_of(plan.video, model, plan.settings) as source:
        progress.report("Measuring the machine")
        result.limits = measure_limits(device, dtype)
        if frames := [case.frames for case in plan.cases if case.vision]:
            progress.report("Measuring the vision tower")
            result.tower = _tower(model, min(frames[0], TOWER_FRAMES[device.type]), plan.repeats)
            if (arm := _merging_arm(plan)) is not None:
                progress.report("Measuring token merging")
                result.assembly = _assembly(model, arm, frames[0], plan.repeats)
        arms = make_arms(model, plan.arms, plan.stocks, plan.settings.compile)
        for number, case in enumerate(plan.cases):
            running = [arm for arm in arms if plan.runs(arm.label, number)]
            _case(result, model, running, case, source, progress)
            save(result)


@torch.inference_mode()
def _tower(model: Llava, frames: int, repeats: int) -> TowerTrial:
    """Time the vision tower and the projector on prepared pixels, after one unmeasured run."""
    pixels = model.pixels(Noise(model).frames(frames).pixels)
    watch, seconds = Stopwatch(model.language_model.device), []
    for repeat in range(-1, repeats):
        watch.restart()
        model.features(pixels)
        if repeat >= 0:
            seconds.append(watch.lap())
    config = model.model.config
    flops = vision_flops(VisionShape.of(config.vision_config), config.text_config.hidden_size, frames)
    return TowerTrial(frames, flops, tuple(seconds))


def _merging_arm(plan: Plan) -> Arm | None:
    """Return the first arm that is dycoke, None without one."""
    return next((arm for arm in plan.arms if isinstance(arm.method, Dycoke)), None)


@torch.inference_mode()
def _assembly(model: Llava, arm: Arm, frames: int, repeats: int) -> AssemblyTrial:
    """Time compression and building of the prompt on random features, after one unmeasured run.

    The features are compressed in parts of as many frames as `encode_compressed` compresses at once.
    """
    language_model, method = model.language_model, arm.method
    device = language_model.device
    shape = (*model.grid(frames), language_model.body.config.hidden_size)
    features = torch.randn(shape, generator=torch.Generator(device).manual_seed(0), device=device)
    together = frames if method.window is None else -(-TOGETHER // method.window) * method.window
    parts = [VisualTokens.uncompressed(part) for part in features.to(language_model.dtype).split(together)]
    watch, seconds = Stopwatch(device), []
    for repeat in range(-1, repeats):
        watch.restart()
        model.prompt(VisualTokens.concatenate([*map(method.compress, parts)]), AFTER, method.positions, BEFORE)
        if repeat >= 0:
            seconds.append(watch.lap())
    return AssemblyTrial(frames, arm.label, tuple(seconds))


def _case(
    result: BenchResult, model: Llava, arms: Sequence[BenchArm], case: Case, source: Source, progress: _Progress
) -> None:
    """Run each arm once unmeasured, then in turns."""
    rows = [] if case.vision else synthetic_rows(model, case)
    failed: set[str] = set()
    for repeat, turn, arm in turns(arms, result.repeats):
        progress.report(f"{case.visual:,} tokens{f' × {case.batch}' if case.batch > 1 else ''}: {arm.label}")
        if arm.label in failed:
            continue
        gc.collect()  # so that reference cycles of earlier runs do not count in this run's memory
        try:
            with out_of_memory_explained():
                time_s, counts, peak, compiling = arm.run(case, source, rows)
        except (OutOfMemoryError, CompileFailed) as error:
            failed.add(arm.label)
            result.failures.append({"label": arm.label, "case": asdict(case), "error": error.message})
            if isinstance(error, CompileFailed):
                result.failures[-1]["remedy"] = error.remedy
            continue
        for first in compiling or ([time_s] if repeat < 0 else []):
            times = {"decode_s": first["decode"], "total_s": first["total"]}
            result.first_decodes.append({"label": arm.label, "case": asdict(case), **times})
        if repeat < 0:
            continue
        needs = minimum_work(model.language_model, case, counts, arm.depth)
        result.runs.append(Run(case, arm.label, repeat, turn, time_s, counts, needs, peak))
    if model.language_model.device.type == "cuda":
        _peaks_here(result, arms, case, source, rows, failed)


def _peaks_here(
    result: BenchResult, arms: Sequence[BenchArm], case: Case, source: Source, rows: Any, failed: set[str]
) -> None:
    """Run each arm once more on CUDA for its peak, after all arms have released their memory."""
    for arm in arms:
        for each in arms:
            each.reset()
        gc.collect()
        torch.cuda.empty_cache()
        if arm.label not in failed:
            result.peaks[arm.label, case] = arm.run(case, source, rows).peak_above_start
        arm.reset()


def _peaks(plan: Plan, result: BenchResult, label: str) -> None:
    """Measure the peaks of one arm in a separate process."""
    measured = {run.case for run in result.runs if run.label == label}
    cases = [case for case in plan.cases if case in measured]
    spec = {
        "shape": asdict(plan.shape),
        "arm": label,
        "cases": [asdict(case) for case in cases],
        "settings": plan.settings.model_dump(),
        "video": plan.video,
        "threads": torch.get_num_threads(),
    }
    try:
        for case, peak in zip(cases, peaks_apart(spec), strict=True):
            result.peaks[label, case] = peak
    except OutOfMemoryError as error:
        result.failures.append({"label": label, "case": None, "error": error.message})


def minimum_work(model: LanguageModel, case: Case, counts: Counts, depth: Depth) -> MinimumWork:
    """Compute the minimum work of a whole batch.

    A decode step reads every weight of the layers and of the output layer once for any batch, and for each prompt the
    keys and values that its layers attend to.
    """
    visual = visual_by_layer(counts.entered, counts.kept, model.layers, depth)
    prefill = true_flops(TextShape.of(model.body.config), [count + counts.others for count in visual], [])
    steps = keys_by_step(counts.read, visual, counts.others, depth)
    keys = fmean(map(sum, steps)) if steps else 0.0  # summed over the layers
    # Without the embeddings, of which a step reads one row.
    parts = (model.body.layers, model.body.norm, model.head)
    return MinimumWork(
        prefill_flops=case.batch * prefill,
        weight_bytes=sum(weight.numel() * weight.element_size() for part in parts for weight in part.parameters()),
        kv_bytes=round(case.batch * keys * model.kv_bytes_per_token / model.layers),
    )
