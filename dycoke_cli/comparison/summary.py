"""Summarise the runs of a comparison: medians with their range, ratios of medians, agreement of answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, NamedTuple

from dycoke_cli.comparison.agreement import Piece, differences, token_f1
from dycoke_cli.comparison.depth import Computed
from dycoke_cli.comparison.result import STOCK, Comparison, Run
from dycoke_cli.session.answer import Answer


class Spread(NamedTuple):
    """Median and range of one figure over the repeats."""

    median: float
    min: float
    max: float


class Ratios(NamedTuple):
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
    changes: tuple[Piece, ...]  # the diff from the uncompressed answer; empty without one


TIMES: dict[str, Callable[[Answer], float | None]] = {
    "vision": lambda answer: answer.time_s.vision,
    "prefill": lambda answer: answer.time_s.prefill,
    "first_token": lambda answer: answer.time_s.first_token,
    "per_token": lambda answer: answer.time_s.per_token,
    "total": lambda answer: answer.time_s.total,
    "model": lambda answer: answer.time_s.total - answer.time_s.decode_video,
}
MEMORY: dict[str, Callable[[Answer], float | None]] = {
    "weights": lambda answer: answer.memory_bytes.weights,
    "kv": lambda answer: answer.memory_bytes.kv,
    "peak": lambda answer: answer.memory_bytes.peak,
    "peak_above_weights": lambda answer: answer.memory_bytes.peak_above_weights,
}


def summarise(comparison: Comparison) -> list[Summary]:
    """Return one summary per arm, in the order of the command."""
    full = comparison.of(comparison.reference) if comparison.reference else []
    stock = comparison.of(STOCK)
    return [_summary(comparison.of(label), full, stock) for label in comparison.labels]


def _summary(runs: Sequence[Run], full: Sequence[Run], stock: Sequence[Run]) -> Summary:
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
        time_s={name: spread(runs, figure) for name, figure in TIMES.items()},
        memory_bytes={name: spread(runs, figure) for name, figure in MEMORY.items()},
        against_full=_ratios(runs, full) if full else Ratios(),
        against_generate=_ratios(runs, stock) if stock else Ratios(),
        agreement=None if reference is None else fmean(token_f1(answer, reference) for answer in answers),
        agreement_exact=None if reference is None else set(answers) == {reference},
        changes=() if reference is None else tuple(differences(answers[0], reference)),
    )


def spread(runs: Sequence[Run], figure: Callable[[Answer], float | None]) -> Spread | None:
    """Return the median and the range of one figure; None if it is missing in any run."""
    values = [value for run in runs if (value := figure(run.answer)) is not None]
    return Spread(median(values), min(values), max(values)) if len(values) == len(runs) else None


def _ratios(runs: Sequence[Run], others: Sequence[Run]) -> Ratios:
    def times_less(figure: Callable[[Answer], float | None]) -> float | None:
        """Return how many times smaller the figure is for these runs."""
        ours, theirs = spread(runs, figure), spread(others, figure)
        return theirs.median / ours.median if ours and theirs and ours.median else None

    peak = times_less(MEMORY["peak_above_weights"])
    return Ratios(
        speedup_total=times_less(TIMES["total"]),
        speedup_model=times_less(TIMES["model"]),
        speedup_first_token=times_less(TIMES["first_token"]),
        speedup_prefill=times_less(TIMES["prefill"]),
        speedup_decode=times_less(TIMES["per_token"]),
        peak_above_weights_ratio=1 / peak if peak else None,
        kv_ratio=runs[0].answer.memory_bytes.kv / others[0].answer.memory_bytes.kv,
        flops_true_ratio=runs[0].computed.flops_true / others[0].computed.flops_true,
    )
