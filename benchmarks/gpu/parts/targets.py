"""The project's targets for a GPU, as `benchmarks.speed --device cuda` measures them; on a CPU the demo's shape."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.job import Job
from dycoke_cli.display.targets import MET, figure, limit

REPEATS = 2
FILE = "speed-cuda.json"  # beside the day's own file, for `benchmarks.speed --readme`
KEPT = ("targets", "limits", "vision_tower", "ttm_and_assembly", "failures", "interrupted")


def measure(job: Job) -> None:
    """Run the measurements, and keep the verdicts and the figures that they are computed from."""
    from benchmarks import speed

    out = job.folder / "speed-small.json" if job.small else job.results / FILE
    try:
        if job.small:
            _measure_small(out)
        else:
            speed.measure(job.device, REPEATS, out, None, lambda: job.left_s)
    finally:  # an interrupted bench, and one in which an arm had no room, have written what they measured
        if out.exists():
            job.record |= _kept(out)


def _measure_small(out: Path) -> None:
    """Measure the first and last case of the plan with few frames, which tests no target."""
    from dycoke_cli.bench.plan import target_plan
    from dycoke_cli.bench.random_model import Shape
    from dycoke_cli.bench.run import bench
    from dycoke_cli.bench.target import GPU, GPU_BATCH
    from dycoke_cli.cli.bench import save
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.system.callbacks import Callbacks

    cases = [replace(case, frames=4, visual=144, batch=min(case.batch, 2), new_tokens=4)
             for case in (GPU.case, GPU_BATCH.case)]  # fmt: skip
    plan = replace(target_plan(Settings(device="cpu"), 1), shape=Shape("demo", 4), cases=tuple(cases))
    save(bench(plan, Callbacks(), lambda result: save(result, out)), out)


def _kept(out: Path) -> dict[str, Any]:
    found = json.loads(out.read_text(encoding="utf-8"))
    kept = {name: found[name] for name in KEPT}
    rows = [
        {"case": row["case"], "label": row["label"], "peak_above_weights": row["peak_above_weights"],
         "median_s": {phase: spread and spread["median"] for phase, spread in row["time_s"].items()}}
        for row in found["summary"]
    ]  # fmt: skip
    return {**kept, "rows": rows}


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a line for each target of a GPU."""
    return [
        (
            f"{target['text']}{_size(target)}",
            f"{figure(target['value'], target['unit'])} ({limit(target['at_least'], target['bound'], target['unit'])}) "
            f"{MET[target['met']][0]}",
        )
        for target in record.get("targets", [])
        if target["key"].startswith("gpu_")
    ]


def _size(target: dict[str, Any]) -> str:
    return ", batch 16" if target["key"].startswith("gpu_batch") else ""
