"""Long videos: 128, 256 and 512 frames with full and dycoke, and with stock `generate` where the time allows it."""

from typing import Any

from benchmarks.gpu.job import Job
from benchmarks.gpu.single import build, figures, time_alone

LENGTHS = {"cuda": (128, 256, 512), "cpu": (4, 8)}
NEW_TOKENS = {"cuda": 33, "cpu": 4}
SHAPES: dict[str, tuple[str, int | None]] = {"cuda": ("7b", None), "cpu": ("demo", 4)}
GROWTH = 3.5  # twice the frames take about so many times as long, where attention is most of it
STOCK_LENGTHS = 2  # the shortest ones: `generate` takes several times as long and as much memory


def measure(job: Job) -> None:
    """Time each arm on each length, the shortest first: once unmeasured, if the time allows it, and once measured."""
    from dycoke_cli.bench.arms import EngineArm, StockArm
    from dycoke_cli.bench.case import Case
    from dycoke_cli.bench.inputs import Noise
    from dycoke_cli.methods.arm import Arm

    name, layers = SHAPES[job.device]
    lengths, new_tokens = LENGTHS[job.device], NEW_TOKENS[job.device]
    job.record |= {"shape": name, "layers": layers, "new_tokens": new_tokens, "rows": [], "left_out": []}
    model = build(name, layers, job.device)
    noise = Noise(model)
    plan = [(frames, EngineArm(model, Arm.of(method, {}))) for frames in lengths for method in ("dycoke", "full")]
    stock = [(frames, StockArm(model)) for frames in lengths[:STOCK_LENGTHS]]
    time_alone(plan[0][1], Case(4, model.grid(4).total, 1, 2, True), noise, 1)  # loads code and kernels
    for frames, arm in [*plan, *stock]:
        expected_s = _expected_s(job, arm.label, frames)
        if job.left_s < expected_s:
            job.record["left_out"].append(f"{arm.label}, {frames} frames")
        else:
            case = Case(frames, model.grid(frames).total, 1, new_tokens, True)
            job.record["rows"].append(time_alone(arm, case, noise, 1, warm=job.left_s > 2 * expected_s))
            print(job.record["rows"][-1], flush=True)
        job.save()


def _expected_s(job: Job, label: str, frames: int) -> float:
    """Return how long a run may take: from the arm's time on half as many frames, for `generate` from that of full."""
    known = {(row["label"], row["frames"]): row["time_s"]["total"] for row in job.record["rows"] if "time_s" in row}
    return GROWTH * known.get((label, frames // 2), known.get(("full", frames), 0.0))


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a line for each arm and length, and for each that was left out."""
    found = [(f"{row['frames']} frames, {row['label']}", figures(row)) for row in record["rows"]]
    return [*found, *((what, "left out, for lack of time") for what in record["left_out"])]
