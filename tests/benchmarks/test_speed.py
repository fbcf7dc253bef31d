"""The README's speed tables are generated from the results files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import speed
from benchmarks.speed import BEGIN, END, ROOT, filled
from dycoke_cli.bench.case import BenchResult
from dycoke_cli.bench.plan import Plan
from dycoke_cli.bench.random_model import Shape
from dycoke_cli.bench.summary import summarise
from dycoke_cli.bench.target import CPU, GPU, TARGETS, target_cases, verdicts
from dycoke_cli.config.settings import Settings
from dycoke_cli.display.bench_records import bench_record
from dycoke_cli.methods.arm import Arm
from dycoke_cli.system.callbacks import Callbacks
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


def test_results_of_older_versions_are_filled_in() -> None:
    """A file without the figures that were added later gives the same text; the present one has them."""
    old = result()
    assert old.pop("ttm_and_assembly") == {
        "frames": 64,
        "label": "dycoke",
        "time_s": (0.003, 0.002, 0.009),
        "median_s": 0.003,
    }
    assert filled(EMPTY, {"cpu": old}) == filled(EMPTY, {"cpu": result()})


@pytest.mark.parametrize("left_s", [10.0, 1000.0])
def test_the_compiled_generate_comes_last_and_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_s: float
) -> None:
    """All cases run without it first, and are saved after each case; then it alone, if there is time left."""
    plans: list[Plan] = []

    def bench(
        plan: Plan, callbacks: Callbacks, save: Callable[[BenchResult], None] = lambda result: None
    ) -> BenchResult:
        plans.append(plan)
        labels = [*plan.stocks, *(arm.label for arm in plan.arms)]
        arms = [{"label": label, "name": label.split(":")[0], "options": {"k": 0.7, "p": 0.7}} for label in labels]
        made = bench_result(list(plan.cases), [run(plan.cases[0], label, 0, 1.0, 0.5) for label in labels], arms=arms)
        save(made)
        return made

    arms = Arm.of("full", {}), Arm.of("dycoke", {})
    settings = Settings(device="cuda")
    plan = Plan(Shape("7b"), target_cases("cuda"), arms, True, 2, settings, compiled_stock="if_possible")
    monkeypatch.setattr(speed, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(speed, "target_plan", lambda settings, repeats: plan)
    monkeypatch.setattr(speed, "bench", bench)
    out = tmp_path / "speed.json"
    speed.measure("cuda", 2, out, None, lambda: left_s)
    enough = left_s > speed.COMPILED_S
    assert [(each.stocks, each.cases) for each in plans] == [
        (["generate"], target_cases("cuda")),
        (["generate:compiled"], (GPU.case,)),
    ][: 1 + enough]
    labels = ["generate", "full", "dycoke", "generate:compiled"][: 3 + enough]
    written = json.loads(out.read_text())
    assert [arm["label"] for arm in written["arms"]] == labels
    assert [row["label"] for row in written["summary"]] == labels


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
