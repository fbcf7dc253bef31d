"""A target is met, missed or not measured."""

from dataclasses import replace
from typing import Any

import pytest

from dycoke_cli.bench.case import AssemblyTrial, Case
from dycoke_cli.bench.limits import Limits
from dycoke_cli.bench.summary import summarise
from dycoke_cli.bench.target import CPU, GPU, GPU_BATCH, GPU_PREFILL, TARGETS, Verdict, target_cases, verdicts
from tests.bench.made import ARMS, bench_result, run

STOCK_S, STOCK_STEP_S = 10.0, 1.0


def cpu_bench(first_token: float, per_token: float, peak: int, **changes: Any) -> dict[str, Verdict]:
    """Verdicts on a CPU bench: speed-up of the first token, time of a step relative to generate, peak in percent."""
    case = CPU.case
    runs = [run(case, "generate", 0, STOCK_S, STOCK_STEP_S), run(case, "full", 0, STOCK_S, STOCK_STEP_S)]
    runs.append(run(case, "dycoke", 0, STOCK_S / first_token, STOCK_STEP_S * per_token))
    found = bench_result([case], runs, **changes)
    found.peaks = {("generate", case): 100, ("dycoke", case): peak}
    return {verdict.target.key: verdict for verdict in verdicts(summarise(found))}


def test_the_bounds_are_inclusive() -> None:
    """First token at least 1.9 times as fast, step at most 0.8 as long, peak at most 60 %."""
    met = cpu_bench(2.0, 0.8, 60)
    assert [met[key].met for key in ("cpu_first_token", "cpu_per_token", "cpu_peak")] == [True] * 3
    assert met["cpu_first_token"].value == pytest.approx(2.0)
    missed = cpu_bench(1.89, 0.81, 61)
    assert [missed[key].met for key in ("cpu_first_token", "cpu_per_token", "cpu_peak")] == [False] * 3


def test_targets_without_a_run_are_not_measured() -> None:
    """A CPU bench leaves GPU targets unmeasured, with a reason and a command but no value."""
    held = cpu_bench(2.0, 0.8, 60)
    for key, verdict in held.items():
        if not key.startswith("cpu_"):
            assert (verdict.met, verdict.value) == (None, None)
            assert verdict.reason
            assert verdict.target.setup.command.startswith("python -m benchmarks.")
    assert all(verdict.met is None for verdict in verdicts(None))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [({"layers": 2}, "real depth"), ({"name": "demo"}, "0.5b"), ({"dtype": "bfloat16"}, "float32")],
    ids=str,
)
def test_another_network_measures_no_target(shape: dict[str, Any], reason: str) -> None:
    """Another depth, shape or dtype leaves the target unmeasured for any speed."""
    made = bench_result([], []).shape
    held = cpu_bench(9.0, 0.1, 1, shape=made | shape)
    assert held["cpu_first_token"].met is None
    assert reason in held["cpu_first_token"].reason


def test_another_case_other_options_or_threads_measure_no_target() -> None:
    """Fewer new tokens, another K or four threads leave the target unmeasured."""
    case = replace(CPU.case, new_tokens=8)
    runs = [run(case, arm["label"], 0, 1.0, 0.1) for arm in ARMS]
    held = {verdict.target.key: verdict for verdict in verdicts(summarise(bench_result([case], runs)))}
    assert "case" in held["cpu_first_token"].reason
    other = [*ARMS[:2], {**ARMS[2], "options": {"k": 0.5, "p": 0.7}}]
    assert cpu_bench(9.0, 0.1, 1, arms=other)["cpu_first_token"].met is None
    found = bench_result([CPU.case], [run(CPU.case, arm["label"], 0, 1.0, 0.1) for arm in ARMS])
    found.limits = Limits(1.0, 1.0, "float32", 4)
    held = {verdict.target.key: verdict for verdict in verdicts(summarise(found))}
    assert "threads" in held["cpu_first_token"].reason


def gpu_bench(**changes: Any) -> dict[str, Verdict]:
    """Verdicts on a made-up GPU whose times of the targets' cases are written out here."""
    runs = [
        run(GPU.case, "generate", 0, 9.0, 0.3),
        run(GPU.case, "full", 0, 4.0, 0.1, vision=1.0),
        run(GPU.case, "dycoke", 0, 2.0, 0.102, vision=1.0),
        run(GPU_PREFILL.case, "generate", 0, 3.0, 0.3),
        run(GPU_PREFILL.case, "full", 0, 4.0, 0.1),
        run(GPU_BATCH.case, "generate", 0, 5.0, 1.5),
        run(GPU_BATCH.case, "full", 0, 4.0, 0.5),
        run(GPU_BATCH.case, "dycoke", 0, 2.0, 0.4),
    ]
    shape = {**bench_result([], []).shape, "name": "7b", "dtype": "bfloat16", "device": "cuda"}
    found = bench_result([GPU.case, GPU_PREFILL.case, GPU_BATCH.case], runs, shape=shape, **changes)
    found.peaks = {("generate", GPU.case): 100, ("dycoke", GPU.case): 49}
    return {verdict.target.key: verdict for verdict in verdicts(summarise(found))}


def test_gpu_targets_by_hand() -> None:
    """On a made-up GPU, every value follows from the times of its runs."""
    held = gpu_bench()
    values = {key: verdict.value for key, verdict in held.items() if verdict.value is not None}
    total = (9.0 + 127 * 0.3) / (3.0 + 127 * 0.102)
    assert values == pytest.approx(
        {
            "gpu_total": total,
            "gpu_first_token": 3.0,
            "gpu_per_token_of_limit": 1.02,
            "gpu_prefill_of_limit": 0.1,
            "gpu_vision_of_limit": 0.3,
            "gpu_assembly": 3.0,
            "gpu_full_prefill": 0.75,
            "gpu_batch_full_prefill": 1.25,
            "gpu_per_token_of_full": 1.02,
            "gpu_peak": 0.49,
            "gpu_batch_per_token_of_full": 0.8,
            "gpu_batch_decode": 1.25,
        }
    )
    assert held["gpu_prefill_of_limit"].met is False
    assert held["gpu_peak"].met is True
    assert held["gpu_assembly"].met is True
    assert (held["gpu_full_prefill"].met, held["gpu_batch_full_prefill"].met) == (False, True)


@pytest.mark.parametrize(
    "trial",
    [None, AssemblyTrial(32, "dycoke", (0.001,)), AssemblyTrial(64, "dycoke:k=0.5", (0.001,))],
    ids=["no trial", "other frames", "other options"],
)
def test_another_assembly_measures_no_target(trial: AssemblyTrial | None) -> None:
    """Merging fewer frames, or by another arm than the default dycoke, leaves the target unmeasured."""
    arms = [*ARMS, {"label": "dycoke:k=0.5", "name": "dycoke", "options": {"k": 0.5, "l": 3, "p": 0.7}}]
    assert gpu_bench(arms=arms, assembly=trial)["gpu_assembly"].met is None
    assert gpu_bench(arms=arms, assembly=AssemblyTrial(64, "dycoke", (0.0031,)))["gpu_assembly"].met is False


def test_decoding_is_compared_with_ffmpeg() -> None:
    """At most 1.3 times the time of ffmpeg; None is not measured."""
    for value, met in ((1.3, True), (1.31, False), (None, None)):
        assert verdicts(None, value)[-1].met is met


def test_setups_have_the_documented_sizes() -> None:
    """64 frames of 196 tokens on a GPU, 3,136 tokens on a CPU; target keys are unique."""
    assert Case(64, 12544, 1, 128, True) == GPU.case
    assert Case(64, 12544, 16, 128, False) == GPU_BATCH.case
    assert Case(16, 3136, 1, 32, False) == CPU.case
    assert target_cases("cpu") == (CPU.case,)
    assert target_cases("cuda") == (GPU.case, GPU_PREFILL.case, GPU_BATCH.case)
    assert len({target.key for target in TARGETS}) == len(TARGETS)
