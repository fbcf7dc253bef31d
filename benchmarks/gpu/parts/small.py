"""The 0.5B shape on 64 frames: generate, full and dycoke in turns; on a CPU the demo's shape."""

from typing import Any

from benchmarks.gpu.job import Job
from dycoke_cli.display.cells import times
from dycoke_cli.display.panel import seconds

REPEATS = {"cuda": 2, "cpu": 1}
SHAPES: dict[str, tuple[str, int | None]] = {"cuda": ("0.5b", None), "cpu": ("demo", 4)}
SIZES = {"cuda": (64, 128), "cpu": (4, 4)}  # frames, new tokens
PHASES = ("first_token", "per_token", "total")


def measure(job: Job) -> None:
    """Run the bench of one case, and keep its summary."""
    from dycoke_cli.bench.plan import BenchOptions, make_plan
    from dycoke_cli.bench.run import bench
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.methods.arm import Arm
    from dycoke_cli.system.callbacks import Callbacks

    (name, layers), (frames, new_tokens) = SHAPES[job.device], SIZES[job.device]
    wish = BenchOptions(name, layers, (frames,), new_tokens=new_tokens, repeats=REPEATS[job.device])
    plan = make_plan(wish, [Arm.of("full", {}), Arm.of("dycoke", {})], True, Settings(device=job.device))
    callbacks = Callbacks(progress=lambda what, done, total: print(f"{done}/{total} {what}", flush=True))
    result = bench(plan, callbacks, lambda result: _keep(job, result))
    _keep(job, result)
    if result.interrupted:
        raise KeyboardInterrupt


def _keep(job: Job, result: Any) -> None:
    from dycoke_cli.bench.summary import summarise
    from dycoke_cli.display.bench_records import bench_record

    found = bench_record(summarise(result), [])
    job.record |= {name: found[name] for name in ("shape", "limits", "vision_tower", "summary", "failures")}
    job.save()


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a line for each arm."""
    lines = []
    for row in record["summary"]:
        medians = {phase: spread and spread["median"] for phase, spread in row["time_s"].items()}
        line = ", ".join(f"{phase.replace('_', ' ')} {seconds(medians[phase])}" for phase in PHASES)
        gain = row["against_generate"]["speedup_total"] if row["label"] != "generate" else None
        lines.append((row["label"], line if gain is None else f"{line}, {times(gain)} generate's speed"))
    return [*lines, *((failure["label"], failure["error"]) for failure in record["failures"])]
