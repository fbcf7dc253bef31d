"""Time one arm of a bench at a time, without the turns and the separate peaks of `dycoke bench`."""

import gc
from statistics import median
from typing import TYPE_CHECKING, Any

from dycoke_cli.display.panel import seconds, size

if TYPE_CHECKING:
    import torch

    from dycoke_cli.bench.arms import BenchArm
    from dycoke_cli.bench.case import Case
    from dycoke_cli.bench.inputs import Source
    from dycoke_cli.models.families.llava import Llava

PHASES = ("first_token", "per_token", "total")


def build(name: str, layers: int | None, device: str) -> "Llava":
    """Build a random network: bfloat16 on CUDA, float32 on a CPU."""
    import torch

    from dycoke_cli.bench.random_model import Shape
    from dycoke_cli.system.free_memory import free_bytes

    where = torch.device(device)
    if device == "cpu":
        torch.set_num_threads(1)  # with which a network as small as that of a CPU's part is fastest
    return Shape(name, layers).build(where, torch.bfloat16 if device == "cuda" else torch.float32, free_bytes(where))


def time_alone(arm: "BenchArm", case: "Case", source: "Source", repeats: int, warm: bool = True) -> dict[str, Any]:
    """Run an arm once unmeasured and `repeats` times; return the medians in seconds, and on CUDA its peak in bytes.

    warm: False leaves out the unmeasured run. An arm without room has an error in place of figures. What the arm keeps
    for its next run is released.
    """
    from dycoke_cli.bench.inputs import synthetic_rows
    from dycoke_cli.errors import OutOfMemoryError
    from dycoke_cli.system.device import out_of_memory_explained

    rows = [] if case.vision else synthetic_rows(arm.model, case)
    try:
        with out_of_memory_explained():
            first = arm.run(case, source, rows) if warm else None
            runs = [arm.run(case, source, rows) for _ in range(repeats)]
    except OutOfMemoryError as error:
        return {"label": arm.label, "frames": case.frames, "error": error.message}
    finally:
        arm.reset()
        _release(arm.model.language_model.device)
    times = {phase: median([run.time_s[phase] or 0.0 for run in runs]) for phase in (*PHASES, "decode")}
    peaks = [run.peak_above_start for run in runs if run.peak_above_start is not None]
    on_cuda = arm.model.language_model.device.type == "cuda"  # the peak of a CPU's process is not this arm's alone
    return {
        "label": arm.label,
        "frames": case.frames,
        "visual_tokens": case.visual,
        "entered": runs[0].counts.entered,
        "time_s": times,
        "first_run_decode_s": first and first.time_s["decode"],
        "peak_above_start": max(peaks) if peaks and on_cuda else None,
    }


def _release(device: "torch.device") -> None:
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def figures(found: dict[str, Any]) -> str:
    """Return the figures of `time_alone` as one line."""
    if "error" in found:
        return str(found["error"])
    times = ", ".join(f"{phase.replace('_', ' ')} {seconds(found['time_s'][phase])}" for phase in PHASES)
    peak = found["peak_above_start"]
    cold = "" if found["first_run_decode_s"] is not None else ", first run"
    return times + cold if peak is None else f"{times}, peak {size(peak)}{cold}"
