"""Decode steps of dycoke compiled by torch.compile beside those that are not, and when compiling pays.

With few layers, because compiling a deep network takes longer than this part may: both what compiling costs and what it
saves grow with the layers.
"""

import os
import tempfile
from typing import Any

from benchmarks.gpu.job import Job
from benchmarks.gpu.single import build, time_alone
from dycoke_cli.display.panel import seconds

SHAPES = {"cuda": ("7b", 6), "cpu": ("demo", 4)}
FRAMES = {"cuda": 64, "cpu": 4}
NEW_TOKENS = {"cuda": 65, "cpu": 9}


def measure(job: Job) -> None:
    """Time the eager or captured steps, then the compiled ones, with an empty cache of compiled code."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        _measure(job)


def _measure(job: Job) -> None:
    import torch

    from dycoke_cli.bench.arms import EngineArm
    from dycoke_cli.bench.case import Case
    from dycoke_cli.bench.inputs import Noise
    from dycoke_cli.engine.compiled import check_compiler
    from dycoke_cli.methods.arm import Arm

    check_compiler(torch.device(job.device))
    (name, layers), frames = SHAPES[job.device], FRAMES[job.device]
    job.record |= {"shape": name, "layers": layers, "frames": frames}
    model = build(name, layers, job.device)
    case = Case(frames, model.grid(frames).total, 1, NEW_TOKENS[job.device], False)
    for key, compiled in (("without", False), ("with", True)):
        arm = EngineArm(model, Arm.of("dycoke", {}), compiled)
        job.record[key] = time_alone(arm, case, Noise(model), 2)
        job.save()
    plain, found = job.record["without"], job.record["with"]
    job.record |= payback(
        plain["time_s"]["per_token"],
        found["time_s"]["per_token"],
        found["first_run_decode_s"] - found["time_s"]["decode"],
    )


def payback(plain_s: float, compiled_s: float, compile_s: float) -> dict[str, float | None]:
    """Return the seconds of compiling, and the tokens after which they are saved; None: never."""
    saved_s = plain_s - compiled_s
    return {"compile_s": compile_s, "tokens_until_it_pays": compile_s / saved_s if saved_s > 0 else None}


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return both times, and when compiling pays."""
    lines = [
        (f"per token {key} --compile, {record['layers']} layers", seconds(record[key]["time_s"]["per_token"]))
        for key in ("without", "with")
        if "time_s" in record.get(key, {})
    ]
    if "compile_s" in record:
        tokens = record["tokens_until_it_pays"]
        pays = "it never pays" if tokens is None else f"it pays after {tokens:,.0f} tokens"
        lines.append(("compiling", f"{seconds(record['compile_s'])}: {pays}"))
    return lines
