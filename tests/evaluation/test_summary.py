"""Summaries of records, compared with values computed by hand."""

import pytest

from dycoke_cli.evaluation.statistics import wilson_interval
from dycoke_cli.evaluation.summary import summarise
from tests.evaluation.records import record


def test_the_summary_by_hand() -> None:
    """Two methods and three videos, one of which cannot be read and counts as unanswered."""
    table = {
        (1, "a"): record(correct=True, method="a", video="x"),
        (1, "b"): record(correct=False, method="b", video="x"),
        (2, "a"): record(correct=True, method="a", video="y", type="shape"),
        (2, "b"): record(correct=True, method="b", video="y", type="shape", read_per_step=None),
        (3, "a"): record(correct=None, method="a", video="z"),
        (3, "b"): record(correct=None, method="b", video="z"),
        (4, "a"): record(correct=False, method="a", video="y", type=None),
    }
    summary = summarise(table, ["a", "b"], 8)
    rows = {(score.type, score.method): (score.n, score.correct, score.unanswered) for score in summary.by_type}
    assert rows == {
        ("colour", "a"): (1, 1, 1),
        ("colour", "b"): (1, 0, 1),
        ("shape", "a"): (1, 1, 0),
        ("shape", "b"): (1, 1, 0),
        (None, "a"): (1, 0, 0),
        (None, "b"): (0, 0, 0),
    }
    assert [(score.method, score.n, score.correct, score.unanswered) for score in summary.overall] == [
        ("a", 3, 2, 1),
        ("b", 2, 1, 1),
    ]
    assert summary.by_type[-1].accuracy is None
    assert summary.overall[0].interval == wilson_interval(2, 3)
    ((method, difference),) = summary.differences
    assert (method, difference.difference, difference.questions, difference.videos) == ("b", -0.5, 2, 2)
    assert (difference.better, difference.worse) == (0, 1)
    assert [(row.method, row.prefill, row.per_step) for row in summary.retained] == [
        ("a", 0.5, pytest.approx(0.2)),
        ("b", 0.5, pytest.approx(0.2)),
    ]
    assert [(failure.video, failure.error, failure.answers) for failure in summary.failures] == [("z", "broken", 2)]
    assert (summary.unanswered, summary.complete) == (2, False)


def test_questions_without_types_have_no_table_by_type() -> None:
    """Their only scores are the overall ones."""
    summary = summarise({(1, "a"): record(method="a", type=None)}, ["a"], 1)
    assert (summary.by_type, summary.complete, summary.differences) == ((), True, ())
