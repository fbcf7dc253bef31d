"""Where the time goes: vision tower, prefill of full and dycoke, and one decode step of each, by kernel."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.gpu.job import Job
from benchmarks.gpu.kernels import ATTENTION, MATRIX, OTHER, kernel_lines, profiled
from benchmarks.gpu.single import build

if TYPE_CHECKING:
    from dycoke_cli.engine.graph_store import GraphStore
    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.models.families.llava import Llava
    from dycoke_cli.system.measure import Stopwatch
    from dycoke_cli.tokens import Prompt

T = TypeVar("T")
FRAMES = {"cuda": 64, "cpu": 4}
SHAPES: dict[str, tuple[str, int | None]] = {"cuda": ("7b", None), "cpu": ("demo", 4)}
SKIPPED, STEPS = 8, 8  # decode steps before the profiled ones, and those
SHOWN = 3  # kernels of a phase in the table; the record and the output of this part contain all


def measure(job: Job) -> None:
    """Time each phase without the profiler, then profile it."""
    # A profiler that unloads CUPTI between its runs crashes with CUDA graphs in some versions.
    os.environ |= {"DISABLE_CUPTI_LAZY_REINIT": "1", "TEARDOWN_CUPTI": "0"}
    import torch

    from dycoke_cli.bench.inputs import Noise
    from dycoke_cli.system.measure import Stopwatch

    (name, layers), frames = SHAPES[job.device], FRAMES[job.device]
    model = build(name, layers, job.device)
    job.record |= {"shape": name, "layers": layers, "frames": frames, "phases": {}}
    watch, pictures = Stopwatch(torch.device(job.device)), Noise(model).frames(frames).pixels
    with torch.inference_mode():
        pixels = model.pixels(pictures)
        _phase(job, watch, "vision", lambda: model.features(pixels))
        for name in ("full", "dycoke"):
            _language_model(job, model, pictures, name, watch)


def _language_model(job: Job, model: "Llava", pictures: Any, name: str, watch: "Stopwatch") -> None:
    """Profile the prefill and the decode steps of one method."""
    from dycoke_cli.bench.arms import AFTER, BEFORE
    from dycoke_cli.engine.graph_store import GraphStore
    from dycoke_cli.methods.arm import Arm
    from dycoke_cli.session.video import encode_compressed

    method, graphs = Arm.of(name, {}).method, GraphStore.of(model.language_model)
    kept = encode_compressed(model, pictures, method)
    prompt = model.prompt(kept, AFTER, method.positions, BEFORE)
    _phase(job, watch, f"prefill, {name}", lambda: list(_steps(model, prompt, method, graphs, 1)), tokens=len(prompt))
    # The last step of a run starts no next one, so the runs are longer than what is measured.
    run = partial(_steps, model, prompt, method, graphs, SKIPPED + STEPS + 4)
    list(run())  # captures the graphs
    wall_s = _after_skipped(run(), lambda steps: _timed(steps, watch)) / STEPS
    found = _after_skipped(run(), lambda steps: profiled(lambda: _advance(steps, STEPS), job.device))
    _keep(job, f"decode step, {name}", _per_step(found), wall_s)


def _after_skipped(steps: Iterator[object], measured: Callable[[Iterator[object]], T]) -> T:
    """Return what `measured` returns for a run that has made the first steps."""
    _advance(steps, SKIPPED)
    return measured(steps)


def _timed(steps: Iterator[object], watch: "Stopwatch") -> float:
    watch.restart()
    _advance(steps, STEPS)
    return watch.lap()


def _advance(steps: Iterator[object], count: int) -> None:
    for _ in range(count):
        next(steps)


def _steps(model: "Llava", prompt: "Prompt", method: "Method", graphs: "GraphStore", count: int) -> Any:
    from dycoke_cli.engine.generate import Stop, generate
    from dycoke_cli.engine.sampling import Sampling

    stop = Stop(frozenset(), count)
    return iter(generate(model.language_model, [prompt], method, stop, Sampling(), graphs=graphs))


def _phase(job: Job, watch: "Stopwatch", name: str, work: Callable[[], object], **facts: Any) -> None:
    """Run `work` unmeasured, timed, and profiled."""
    work()
    watch.restart()
    work()
    wall_s = watch.lap()
    _keep(job, name, profiled(work, job.device) | facts, wall_s)


def _keep(job: Job, name: str, found: dict[str, Any], wall_s: float) -> None:
    job.record["phases"][name] = {"wall_s": wall_s, **found}
    job.save()
    print(f"{name}: {1e3 * wall_s:.2f} ms, {1e3 * found['device_s']:.2f} ms of kernels")
    print(*kernel_lines(found), sep="\n", flush=True)


def _per_step(found: dict[str, Any]) -> dict[str, Any]:
    """Divide the sums over STEPS steps by their number."""
    kernels = [{**each, "seconds": each["seconds"] / STEPS, "count": each["count"] / STEPS}
               for each in found["kernels"]]  # fmt: skip
    return {
        "device_s": found["device_s"] / STEPS,
        "by_kind_s": {kind: seconds / STEPS for kind, seconds in found["by_kind_s"].items()},
        "not_matrix_product_s": found["not_matrix_product_s"] / STEPS,
        "kernels": kernels,
    }


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return for each phase its time, the sums by kind, and the longest kernels."""
    lines = []
    for name, found in record.get("phases", {}).items():
        parts = ", ".join(f"{kind} {1e3 * found['by_kind_s'][kind]:.2f}" for kind in (MATRIX, ATTENTION, OTHER))
        not_product = f"{1e3 * found['not_matrix_product_s']:.2f} is no matrix product"
        kernels = f"{1e3 * found['device_s']:.2f} ms of kernels, of which {not_product}: {parts}"
        lines.append((name, f"{1e3 * found['wall_s']:.2f} ms; {kernels}"))
        lines += [
            ("", f"{1e3 * each['seconds']:.3f} ms ×{each['count']:g} {each['name'][:80]}")
            for each in found["kernels"][:SHOWN]
        ]
    return lines
