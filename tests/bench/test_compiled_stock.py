"""A bench of `generate:compiled`: nothing compiled is measured, failures leave the other arms, peaks are its own."""

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dycoke_cli.bench import peak, plan, run
from dycoke_cli.bench.arms import CompiledStockArm, StockArm
from dycoke_cli.bench.case import Case
from dycoke_cli.bench.inputs import Noise, synthetic_rows
from dycoke_cli.bench.plan import BenchOptions, make_plan, target_plan, with_compilers
from dycoke_cli.bench.random_model import Shape
from dycoke_cli.bench.summary import summarise
from dycoke_cli.comparison.stock import TokenTimer
from dycoke_cli.config.settings import Settings
from dycoke_cli.display.bench import bench_tables
from dycoke_cli.display.bench_records import bench_record
from dycoke_cli.engine import compiled
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.arm import Arm
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.free_memory import free_bytes
from tests.bench.made import LIMITS
from tests.comparison.counting import compile_with, count_compilations

CPU = torch.device("cpu")
PIXELS, BATCH = Case(4, 144, 1, 4, True), Case(4, 144, 2, 4, False)
PLAN = plan.Plan(
    Shape("demo", 1), (PIXELS, BATCH), (Arm.of("full", {}),), True, 2, Settings(device="cpu"), compiled_stock="yes"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the machine's limits, and measure peaks in this process."""
    monkeypatch.setattr(run, "measure_limits", lambda device, dtype: LIMITS)
    monkeypatch.setattr(run, "peaks_apart", peak.measured_peaks)


def shown(result: Any) -> str:
    """The titles and notes of the tables as one line of text."""
    parts = [part for part in bench_tables(summarise(result)) if hasattr(part, "plain")]
    return " ".join(" ".join(part.plain for part in parts).split())


def test_tokens_are_those_of_generate(monkeypatch: pytest.MonkeyPatch) -> None:
    """From pixels and from embeddings in a batch; each case compiles once, and counts and peaks have their lengths."""
    graphs = count_compilations(monkeypatch)
    demo = Shape("demo", 2).build(CPU, torch.float32, free_bytes(CPU))
    timers: list[TokenTimer] = []

    class Kept(TokenTimer):
        def __init__(self) -> None:
            super().__init__()
            timers.append(self)

    monkeypatch.setattr("dycoke_cli.bench.arms.TokenTimer", Kept)
    plain, fast = StockArm(demo), CompiledStockArm(demo)
    for number, case in enumerate((PIXELS, BATCH), start=1):
        rows = [] if case.vision else synthetic_rows(demo, case)
        wanted = plain.run(case, Noise(demo), rows)
        first, later = (fast.run(case, Noise(demo), rows) for _ in range(2))
        assert (len(graphs), len(first.compiling), len(later.compiling)) == (number, 1, 0)
        assert first.counts == later.counts == wanted.counts
        assert [timer.ids for timer in timers] == [timers[0].ids] * 4  # the first call runs twice
        assert {len(timer.ids) for timer in timers} == {case.batch * case.new_tokens}
        timers.clear()
    fast.reset()
    assert fast.run(PIXELS, Noise(demo), []).compiling


def test_compile_time_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the record and the notes, by difference, for the compiled arm alone; every arm and case has a peak."""
    count_compilations(monkeypatch)
    result = run.bench(PLAN, Callbacks())
    assert result.failures == []
    assert [arm["label"] for arm in result.arms] == [STOCK, STOCK_COMPILED, "full"]
    assert result.arms[1]["options"] == {"cache_implementation": "static"}
    assert result.peaks.keys() == {(arm["label"], case) for arm in result.arms for case in PLAN.cases}
    summary = summarise(result)
    assert {row.label for row in summary.rows if row.compile_s is not None} == {STOCK_COMPILED}
    for row in (row for row in summary.rows if row.label == STOCK_COMPILED):
        total = row.time_s["total"]
        assert total is not None
        (first,) = [each for each in result.first_decodes if (each["label"], each["case"]["batch"]) == (
            STOCK_COMPILED, row.case.batch
        )]  # fmt: skip
        assert row.compile_s == pytest.approx(first["total_s"] - total.median)
        assert row.compile_s > 2 * total.max  # no measured run compiled
        assert row.against_generate.speedup_total is not None
    record = bench_record(summary, [])
    assert [row["compile_s"] is None for row in record["summary"]] == [True, False, True] * 2
    text = shown(result)
    assert "torch.compile ran the decode steps of generate:compiled." in text
    assert "generate:compiled at 144 tokens: " in text
    assert "generate:compiled at 144 × 2 tokens: " in text


def test_both_kinds_of_compiled_steps_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --compile, the arms of this engine have a compile time too, plain `generate` has none."""
    count_compilations(monkeypatch)
    result = run.bench(replace(PLAN, cases=(BATCH,), repeats=1), Callbacks())
    result.compiled = True
    assert [row.compile_s is None for row in summarise(result).rows] == [True, False, False]
    assert "of this engine and generate:compiled." in shown(result)


def test_a_failing_compilation_leaves_the_other_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is recorded for each case with a remedy, and the other arms have all runs."""

    def refuse(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        raise RuntimeError("no such instruction")

    compile_with(monkeypatch, refuse)
    monkeypatch.setattr(run, "peaks_apart", lambda spec: [1] * len(spec["cases"]))
    cases = BATCH, replace(BATCH, batch=1)
    result = run.bench(replace(PLAN, cases=cases, repeats=1), Callbacks())
    assert [each["label"] for each in result.failures] == [STOCK_COMPILED] * 2
    assert {each["remedy"] for each in result.failures} == {f"Leave out {STOCK_COMPILED}"}
    assert all("no such instruction" in each["error"] for each in result.failures)
    assert {each.label for each in result.runs} == {STOCK, "full"}
    assert len(result.runs) == 4
    assert "generate:compiled is missing or incomplete: the forward of this model cannot" in shown(result)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arm that was asked for is refused before anything is built; one by default is left out with a notice."""
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setattr(Shape, "build", lambda *arguments: pytest.fail("a network was built"))
    with pytest.raises(UsageError, match=STOCK_COMPILED):
        run.bench(PLAN, Callbacks())
    notices: list[str] = []
    noted = Callbacks(notice=notices.append)
    wanted = replace(PLAN, compiled_stock="if_possible")
    assert with_compilers(wanted, CPU, noted).stocks == [STOCK]
    (notice,) = notices
    assert notice.startswith(f"{STOCK_COMPILED} is left out: ")
    assert with_compilers(replace(PLAN, compiled_stock="no"), CPU, noted).stocks == [STOCK]
    assert len(notices) == 1


def test_it_is_a_default_on_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default and for the targets; on a CPU only if it is named."""
    wish, settings = BenchOptions(shape="demo"), Settings()
    for kind, default in (("cpu", "no"), ("cuda", "if_possible")):
        device = torch.device(kind)
        monkeypatch.setattr(plan, "choose_device", lambda name, device=device: device)
        assert make_plan(wish, [], True, settings, None).compiled_stock == default
        assert target_plan(settings).compiled_stock == default
        assert make_plan(wish, [], True, settings, True).compiled_stock == "yes"
        assert make_plan(wish, [], True, settings).compiled_stock == "no"


def test_it_can_be_limited_to_the_first_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the targets, where each further case would cost a minute; the other arms run on all."""
    count_compilations(monkeypatch)
    result = run.bench(replace(PLAN, arms=(), compiled_stock_cases=1, repeats=1), Callbacks())
    cases = {label: [each.case for each in result.runs if each.label == label] for label in (STOCK, STOCK_COMPILED)}
    assert cases == {STOCK: [PIXELS, BATCH], STOCK_COMPILED: [PIXELS]}


@pytest.mark.gpu
def test_on_cuda_the_arm_has_a_peak_and_leaves_no_memory() -> None:
    """With transformers' own way of compiling; after a reset no more memory is allocated than before."""
    wanted = replace(PLAN, settings=Settings(device="cuda", dtype="float32"))
    result = run.bench(wanted, Callbacks())
    assert result.failures == []
    assert all(result.peaks[STOCK_COMPILED, case] for case in PLAN.cases)
    device = torch.device("cuda")
    demo = Shape("demo", 2).build(device, torch.float32, free_bytes(device))
    arm, before = CompiledStockArm(demo), torch.cuda.memory_allocated()
    arm.run(PIXELS, Noise(demo), [])
    arm.reset()
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 2**20
