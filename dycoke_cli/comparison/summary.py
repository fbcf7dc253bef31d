"""Summarise the runs of a comparison: medians with their range, ratios of medians, agreement of answers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean, median
from typing import Any

from dycoke_cli.comparison.agreement import DiffPiece, differences, token_f1
from dycoke_cli.comparison.depth import Computed
from dycoke_cli.comparison.result import Comparison, Run
from dycoke_cli.methods.parsing import STOCK
from dycoke_cli.session.answer import Answer


@dataclass(frozen=True)
class Spread:
    """Median and range of one figure over the repeats."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, figures: Iterable[float | None]) -> "Spread | None":
        """Return the spread of the figures of all repeats; None if any repeat lacks it."""
        values = list(figures)
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known)) if len(known) == len(values) else None


def speedup(ours: Spread | None, theirs: Spread | None) -> float | None:
    """Return how many times smaller our median is; None if either is unknown, or ours is zero."""
    return theirs.median / ours.median if ours and theirs and ours.median else None


def compile_seconds(unmeasured: Sequence[float], measured: float) -> float:
    """Return by how many seconds unmeasured runs, which also compiled, were longer than a measured run."""
    return sum(max(0.0, total - measured) for total in unmeasured)


@dataclass(frozen=True)
class Ratios:
    """Ratios of medians of two arms: a speed-up above 1 is faster, a ratio below 1 is less. None: not measured."""

    speedup_total: float | None = None
    speedup_model: float | None = None  # without decoding the video, which happens once for all arms
    speedup_first_token: float | None = None
    speedup_prefill: float | None = None
    speedup_decode: float | None = None  # per token
    peak_above_weights_ratio: float | None = None
    kv_ratio: float | None = None
    flops_true_ratio: float | None = None


@dataclass(frozen=True)
class Summary:
    """One arm of a comparison. Agreement is with the uncompressed arm, if there is one."""

    method: str  # the label
    described: dict[str, Any]  # label, name, options
    repeats: int
    answer: str
    same_every_time: bool  # every repeat gave this answer
    generated: int
    visual: int
    visual_prefill: int
    prefill_retention: float
    decode_retention: float | None  # mean over the decode steps; None without any
    computed: Computed
    time_s: dict[str, Spread | None]
    memory_bytes: dict[str, Spread | None]
    against_full: Ratios
    against_generate: Ratios
    agreement: float | None  # token-level F1, mean over the repeats
    agreement_exact: bool | None  # the same text in every repeat
    changes: tuple[DiffPiece, ...]  # the diff from the uncompressed answer; empty without one
    compile_s: float | None = None  # by how much unmeasured runs that compiled were longer; None: nothing was compiled


Figure = Callable[[Answer], float | None]
TIMES: dict[str, Figure] = {
    **{name: attrgetter(f"time_s.{name}") for name in ("vision", "prefill", "first_token", "per_token", "total")},
    "model": lambda answer: answer.time_s.total - answer.time_s.decode_video,
}
MEMORY: dict[str, Figure] = {
    name: attrgetter(f"memory_bytes.{name}") for name in ("weights", "kv", "peak", "peak_above_weights")
}


def summarise(comparison: Comparison) -> list[Summary]:
    """Return one summary per arm, in the order of the command."""
    full = comparison.of(comparison.reference) if comparison.reference else []
    stock = comparison.of(STOCK)
    return [
        _summary(comparison.of(label), full, stock, comparison.compiling_s.get(label)) for label in comparison.labels
    ]


def _summary(
    runs: Sequence[Run], full: Sequence[Run], stock: Sequence[Run], compiling_s: Sequence[float] | None
) -> Summary:
    first = runs[0]
    answers, tokens = [run.answer.answer for run in runs], first.answer.tokens
    read = [step.retained for step in first.answer.steps[1:]]
    reference = full[0].answer.answer if full else None
    return Summary(
        method=first.label,
        described=first.method,
        repeats=len(runs),
        answer=answers[0],
        same_every_time=len(set(answers)) == 1,
        generated=tokens.generated,
        visual=tokens.visual,
        visual_prefill=tokens.visual_prefill,
        prefill_retention=tokens.prefill_retention,
        decode_retention=fmean(read) if read else None,
        computed=first.computed,
        time_s=_spreads(runs, TIMES),
        memory_bytes=_spreads(runs, MEMORY),
        against_full=_ratios(runs, full),
        against_generate=_ratios(runs, stock),
        agreement=None if reference is None else fmean(token_f1(answer, reference) for answer in answers),
        agreement_exact=None if reference is None else set(answers) == {reference},
        changes=() if reference is None else tuple(differences(answers[0], reference)),
        compile_s=None
        if compiling_s is None
        else compile_seconds(compiling_s, median(run.answer.time_s.total for run in runs)),
    )


def _spreads(runs: Sequence[Run], figures: dict[str, Figure]) -> dict[str, Spread | None]:
    return {name: Spread.of(figure(run.answer) for run in runs) for name, figure in figures.items()}


def _ratios(runs: Sequence[Run], others: Sequence[Run]) -> Ratios:
    if not others:
        return Ratios()
    ours, theirs = (_spreads(each, TIMES | MEMORY) for each in (runs, others))
    speedups = {name: speedup(ours[name], theirs[name]) for name in ours}
    peak = speedups["peak_above_weights"]
    return Ratios(
        speedup_total=speedups["total"],
        speedup_model=speedups["model"],
        speedup_first_token=speedups["first_token"],
        speedup_prefill=speedups["prefill"],
        speedup_decode=speedups["per_token"],
        peak_above_weights_ratio=1 / peak if peak else None,
        kv_ratio=runs[0].answer.memory_bytes.kv / others[0].answer.memory_bytes.kv,
        flops_true_ratio=runs[0].computed.flops_true / others[0].computed.flops_true,
    )
