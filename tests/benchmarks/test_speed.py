"""The README's speed tables are generated from the results files."""

from typing import Any

import pytest

from benchmarks.speed import BEGIN, END, ROOT, filled
from dycoke_cli.bench.summary import summarise
from dycoke_cli.bench.target import CPU, TARGETS, verdicts
from dycoke_cli.display.bench_records import bench_record
from tests.bench.made import ARMS, bench_result, run

EMPTY = f"before\n{BEGIN}\nold\n{END}\nafter\n"


def result() -> dict[str, Any]:
    """Return a bench record in which every arm took the same time."""
    found = bench_result([CPU.case], [run(CPU.case, arm["label"], 0, 1.0, 0.5) for arm in ARMS])
    summary = summarise(found)
    return bench_record(summary, verdicts(summary))


def test_what_was_measured_is_filled_in() -> None:
    """Filling is idempotent and keeps the text outside the markers."""
    text = filled(EMPTY, {"cpu": result()})
    assert text == filled(text, {"cpu": result()})
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| first token faster than generate | ≥ 1.9× | 1.000× | missed |" in text
    assert "| per token beside generate | ≤ 0.8× | 1.000× | missed |" in text
    assert "| 3,136 | dycoke | 1.00 s | 500 ms | 16.50 s" in text
    assert text.count("not measured") == len(TARGETS) + 1 - 2


def test_without_results_nothing_is_claimed() -> None:
    """Every target is listed as not measured."""
    assert filled(EMPTY, {}).count("not measured") == len(TARGETS) + 1


def test_a_text_without_markers_is_refused() -> None:
    """Missing markers raise ValueError."""
    with pytest.raises(ValueError, match="one line"):
        filled("nothing here", {})


def test_the_readme_has_the_markers() -> None:
    """`filled` accepts the README."""
    assert filled((ROOT / "README.md").read_text(encoding="utf-8"), {})
