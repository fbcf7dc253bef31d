"""Convert a comparison into the runs of a report: each arm once, with the medians of its repeats."""

from collections.abc import Sequence
from dataclasses import fields, replace
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from dycoke_cli.display.report import ReportRun
from dycoke_cli.session.answer import Answer, Memory, Times

if TYPE_CHECKING:
    from dycoke_cli.comparison.result import Comparison

Figures = TypeVar("Figures", Times, Memory)


def comparison_runs(comparison: "Comparison") -> list[ReportRun]:
    """Return one run per arm: answer and trace of its first repeat, times and bytes as medians over all repeats."""
    runs = []
    for label in comparison.labels:
        repeats = comparison.of(label)
        answer = _median_answer([run.answer for run in repeats])
        baseline = label == comparison.reference
        runs.append(ReportRun(label, repeats[0].method, [answer], baseline, len(repeats)))
    return runs


def _median_answer(answers: Sequence[Answer]) -> Answer:
    return replace(
        answers[0],
        time_s=_medians([answer.time_s for answer in answers]),
        memory_bytes=_medians([answer.memory_bytes for answer in answers]),
    )


def _medians(measured: Sequence[Figures]) -> Figures:
    """Return the median of each figure; a figure that any repeat lacks keeps the value of the first."""
    medians = {}
    for field in fields(measured[0]):
        values = [getattr(one, field.name) for one in measured]
        if all(isinstance(value, int | float) for value in values):
            # Keep bytes integers; the median of two may be a fraction.
            medians[field.name] = type(values[0])(median(values))
    return replace(measured[0], **medians)
