"""Bench measurements with made-up values, for tests of summaries and verdicts."""

from typing import Any

from dycoke_cli.bench.case import AssemblyTrial, BenchResult, Case, Counts, MinimumWork, Run, TowerTrial
from dycoke_cli.bench.limits import Limits

ARMS = [
    {"label": "generate", "name": "generate", "options": {}},
    {"label": "full", "name": "full", "options": {}},
    {"label": "dycoke", "name": "dycoke", "options": {"k": 0.7, "l": 3, "p": 0.7}},
]
MACHINE = {"cpu": "a processor", "cores": 2, "device_name": "a processor", "torch": "2", "transformers": "5"}
LIMITS = Limits(copy_bytes_per_s=1000.0, matrix_flops_per_s=500.0, dtype="float32", threads=2)


def run(case: Case, label: str, repeat: int, prefill: float, per_token: float, vision: float | None = None) -> Run:
    """A run with these seconds per phase."""
    decode = per_token * (case.new_tokens - 1)
    first = prefill + (vision or 0.0)
    times: dict[str, float | None] = {
        "video": None,
        "vision": vision,
        "prefill": prefill,
        "first_token": first,
        "per_token": per_token,
        "decode": decode,
        "total": first + decode,
    }
    counts = Counts(case.visual, case.visual, 35, (case.visual,) * (case.new_tokens - 1))
    return Run(case, label, repeat, 0, times, counts, MinimumWork(100, 60, 40), None)


def bench_result(cases: list[Case], runs: list[Run], **changes: Any) -> BenchResult:
    """A bench on a made-up CPU with these runs."""
    shape = {
        "name": "0.5b",
        "layers": None,
        "parameters": 10**9,
        "weight_bytes": 4 * 10**9,
        "dtype": "float32",
        "device": "cpu",
    }
    given: dict[str, Any] = {"shape": shape, "machine": MACHINE, "arms": ARMS, "cases": cases, "repeats": 3}
    given["tower"] = TowerTrial(4, 300, (1.0, 2.0, 3.0))
    given["assembly"] = AssemblyTrial(64, "dycoke", (0.003, 0.002, 0.009))
    return BenchResult(**(given | changes), limits=LIMITS, runs=runs)
