"""Summarise a bench: medians with their range, shares of the machine's limits, ratios to other arms, growth."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from dycoke_cli.bench.case import PHASES, BenchResult, Case, MinimumWork, Run
from dycoke_cli.comparison.summary import Spread, compile_seconds, speedup
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED


@dataclass(frozen=True)
class Ratios:
    """Ratios of medians of two arms: a speed-up above 1 is faster, a share below 1 is less. None: not measured."""

    speedup_first_token: float | None = None
    speedup_prefill: float | None = None
    speedup_per_token: float | None = None
    speedup_total: float | None = None
    peak_share: float | None = None


@dataclass(frozen=True)
class Row:
    """The figures of one arm on one case."""

    case: Case
    label: str
    described: dict[str, Any]  # label, name, options
    repeats: int
    retention: float  # share of the visual tokens that entered the language model
    time_s: dict[str, Spread | None]  # by PHASES
    peak_above_weights: int | None
    needs: MinimumWork
    prefill_of_limit: float | None  # share of the measured matrix rate that the prefill reaches
    per_token_of_limit: float | None  # time of a step / time to read its bytes at the measured bandwidth
    against_generate: Ratios
    against_full: Ratios
    compile_s: float | None = None  # by how much unmeasured runs that compiled were longer; None: nothing was compiled


@dataclass(frozen=True)
class Growth:
    """Exponents of the power laws, cost ~ tokens ** exponent, fitted to the costs of one arm."""

    label: str
    batch: int
    tokens: tuple[int, ...]  # the sizes that were fitted
    exponents: dict[str, float | None]  # by PHASES and peak_above_weights


@dataclass(frozen=True)
class Summary:
    """The rows in the order of the cases, the parts that are timed alone, and growth if there are several sizes."""

    result: BenchResult
    rows: tuple[Row, ...]
    tower_of_limit: float | None  # share of the measured matrix rate
    assembly_s: float | None  # compressing the features of a video and building its prompt
    growth: tuple[Growth, ...]

    def row(self, case: Case, accepts: Callable[[dict[str, Any]], bool]) -> Row | None:
        """Return the first row of a case whose arm description satisfies `accepts`, else None."""
        return next((row for row in self.rows if row.case == case and accepts(row.described)), None)


def summarise(result: BenchResult) -> Summary:
    """Summarise the measurements, complete or not."""
    rows = [
        _row(result, case, arm, runs)
        for case in result.cases
        for arm in result.arms
        if (runs := _runs(result, case, arm["label"]))
    ]
    tower, limits = result.tower, result.limits
    of_limit = tower.flops / median(tower.time_s) / limits.matrix_flops_per_s if tower and limits else None
    assembly_s = median(result.assembly.time_s) if result.assembly else None
    return Summary(result, tuple(rows), of_limit, assembly_s, tuple(_growths(rows)))


def _runs(result: BenchResult, case: Case, label: str) -> list[Run]:
    return [run for run in result.runs if run.case == case and run.label == label]


def _row(result: BenchResult, case: Case, arm: dict[str, Any], runs: Sequence[Run]) -> Row:
    label, first, limits = arm["label"], runs[0], result.limits
    time_s = _spreads(runs)
    prefill, per_token = time_s["prefill"], time_s["per_token"]
    bytes_read = first.needs.weight_bytes + first.needs.kv_bytes
    full = next((each["label"] for each in result.arms if each["name"] == "full"), None)
    return Row(
        case=case,
        label=label,
        described=arm,
        repeats=len(runs),
        retention=first.counts.entered / case.visual,
        time_s=time_s,
        peak_above_weights=result.peaks.get((label, case)),
        needs=first.needs,
        prefill_of_limit=first.needs.prefill_flops / prefill.median / limits.matrix_flops_per_s
        if prefill and limits
        else None,
        per_token_of_limit=per_token.median * limits.copy_bytes_per_s / bytes_read if per_token and limits else None,
        against_generate=_ratios(result, case, label, STOCK),
        against_full=_ratios(result, case, label, full),
        compile_s=_compile_s(result, case, label, time_s["total"]),
    )


def _compile_s(result: BenchResult, case: Case, label: str, measured: Spread | None) -> float | None:
    """Return the seconds that an arm compiled before its measured runs, by difference from their median."""
    if measured is None or not (label == STOCK_COMPILED or (result.compiled and label != STOCK)):
        return None
    own = (label, asdict(case))
    unmeasured = [each["total_s"] for each in result.first_decodes if (each["label"], each["case"]) == own]
    return compile_seconds(unmeasured, measured.median)


def _spreads(runs: Sequence[Run]) -> dict[str, Spread | None]:
    return {phase: Spread.of(run.time_s[phase] for run in runs) for phase in PHASES}


def _ratios(result: BenchResult, case: Case, label: str, other: str | None) -> Ratios:
    others = _runs(result, case, other) if other else []
    if not others:
        return Ratios()
    ours, theirs = _spreads(_runs(result, case, label)), _spreads(others)
    speedups = {phase: speedup(ours[phase], theirs[phase]) for phase in PHASES}
    peak, reference = result.peaks.get((label, case)), result.peaks.get((other or "", case))
    return Ratios(
        speedups["first_token"],
        speedups["prefill"],
        speedups["per_token"],
        speedups["total"],
        peak / reference if peak is not None and reference else None,
    )


def _growths(rows: Sequence[Row]) -> list[Growth]:
    """Fit the costs of each arm over cases that differ only in the number of visual tokens."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.label, row.case.batch, row.case.vision, row.case.new_tokens), []).append(row)
    found = []
    for (label, batch, _, _), alike in groups.items():
        tokens = [row.case.visual for row in alike]
        if len(set(tokens)) < 2:
            continue
        costs: dict[str, list[float | None]] = {
            phase: [spread.median if (spread := row.time_s[phase]) else None for row in alike] for phase in PHASES
        }
        costs["peak_above_weights"] = [row.peak_above_weights for row in alike]
        exponents = {name: fitted_exponent(tokens, each) for name, each in costs.items()}
        found.append(Growth(label, batch, tuple(tokens), exponents))
    return found


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float | None]) -> float | None:
    """Fit cost = a * size**b by least squares of the logarithms and return b: 1 is linear, 2 quadratic.

    None with fewer than two different sizes, or with a cost that is unknown or not positive.
    """
    known = [cost for cost in costs if cost is not None and cost > 0]
    if len(set(sizes)) < 2 or len(known) < len(costs):
        return None
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in known]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)
