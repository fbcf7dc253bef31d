"""Summary of an evaluation: accuracies with intervals, differences, retention and unanswered questions."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dycoke_cli.evaluation.record import Record
from dycoke_cli.evaluation.statistics import Difference, Interval, paired_difference, wilson_interval


@dataclass(frozen=True)
class Score:
    """Accuracy of one method on the questions that it answered."""

    method: str
    type: str | None  # of the questions; None: questions without a type, or all questions
    n: int  # answered
    correct: int
    accuracy: float | None  # None where nothing was answered
    interval: Interval | None  # 95 %, treating questions as independent
    unanswered: int  # questions whose video could not be read, or does not fit the context


@dataclass(frozen=True)
class Retained:
    """Retention of one method, as shares of all visual tokens."""

    method: str
    prefill: float  # that entered the language model, mean over questions
    per_step: float | None  # read per decode step, mean over questions with decode steps


@dataclass(frozen=True)
class Failure:
    """A video that could not be read or does not fit the context, and the number of missing answers."""

    video: str
    error: str
    answers: int


@dataclass(frozen=True)
class Summary:
    """The result of an evaluation."""

    by_type: tuple[Score, ...]  # types in the order of the file, methods in the order given
    overall: tuple[Score, ...]
    differences: tuple[tuple[str, Difference], ...]  # of every later method to the first one
    retained: tuple[Retained, ...]
    failures: tuple[Failure, ...]
    expected: int  # answers that a complete run has
    records: Mapping[tuple[int, str], Record]  # by item and method

    @property
    def complete(self) -> bool:
        """Whether every question has a record of every method."""
        return len(self.records) == self.expected

    @property
    def unanswered(self) -> int:
        """Number of answers that are missing because of failures."""
        return sum(failure.answers for failure in self.failures)


def summarise(records: Mapping[tuple[int, str], Record], methods: Sequence[str], expected: int) -> Summary:
    """Summarise the records of `methods`, keyed by item of the question file and method.

    expected: number of records of a complete run.
    """
    types = list(dict.fromkeys(record.type for record in records.values()))
    named: list[str | None] = [kind for kind in types if kind is not None]
    # Questions without a type come last; where no question has one, their table would repeat the overall one.
    kinds = [*named, None] if named and None in types else named
    tables = {
        method: {item: record for (item, name), record in records.items() if name == method} for method in methods
    }
    compared = [(method, _difference(tables[method], tables[methods[0]])) for method in methods[1:]]
    retained = [_retained(method, tables[method].values()) for method in methods]
    failed = Counter((record.video, record.error) for record in records.values() if record.error is not None)
    return Summary(
        by_type=tuple(
            _score(method, kind, [record for record in tables[method].values() if record.type == kind])
            for kind in kinds
            for method in methods
        ),
        overall=tuple(_score(method, None, tables[method].values()) for method in methods),
        differences=tuple((method, difference) for method, difference in compared if difference is not None),
        retained=tuple(row for row in retained if row is not None),
        failures=tuple(Failure(video, error, answers) for (video, error), answers in failed.items()),
        expected=expected,
        records=records,
    )


def _score(method: str, kind: str | None, records: Collection[Record]) -> Score:
    answered = [record for record in records if record.answer is not None]
    n, correct = len(answered), sum(bool(record.correct) for record in answered)
    accuracy, interval = (correct / n, wilson_interval(correct, n)) if n else (None, None)
    return Score(method, kind, n, correct, accuracy, interval, len(records) - n)


def _difference(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> Difference | None:
    """Compare two methods on the items that both answered; None where there are none."""
    both = [item for item in ours if item in theirs and None not in (ours[item].answer, theirs[item].answer)]
    if not both:
        return None
    return paired_difference(
        [ours[item].video for item in both],
        [bool(ours[item].correct) for item in both],
        [bool(theirs[item].correct) for item in both],
    )


def _retained(method: str, records: Iterable[Record]) -> Retained | None:
    counted = [record.tokens for record in records if record.tokens is not None]
    steps = [record.read_per_step for record in records if record.read_per_step is not None]
    if not counted:
        return None
    prefill = sum(tokens["visual_prefill"] / tokens["visual"] for tokens in counted) / len(counted)
    return Retained(method, prefill, sum(steps) / len(steps) if steps else None)
