"""A bench runs every arm on every case in turns, and returns its measurements when it is interrupted."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dycoke_cli.bench import peak, run
from dycoke_cli.bench.arms import AFTER, BEFORE, EngineArm, Measured, StockArm
from dycoke_cli.bench.case import BenchResult, Case, Counts
from dycoke_cli.bench.inputs import Noise, synthetic_rows
from dycoke_cli.bench.limits import measure_limits
from dycoke_cli.bench.plan import Plan
from dycoke_cli.bench.random_model import Shape
from dycoke_cli.comparison.depth import Depth
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.generate import generate
from dycoke_cli.errors import OutOfMemoryError, UsageError
from dycoke_cli.methods.arm import Arm
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.fastv import Fastv
from dycoke_cli.methods.full import Full
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.free_memory import free_bytes
from dycoke_cli.tokens import VisualTokens
from tests.bench.made import LIMITS

CPU = torch.device("cpu")
PIXELS, BATCH = Case(4, 144, 1, 4, True), Case(4, 144, 2, 4, False)
PLAN = Plan(
    Shape("demo", 4), (PIXELS, BATCH), (Arm.of("full", {}), Arm.of("dycoke", {})), True, 2, Settings(device="cpu")
)


@pytest.fixture(scope="module")
def demo() -> Llava:
    """A random network in the shape of the demo, with four layers."""
    return Shape("demo", 4).build(CPU, torch.float32, free_bytes(CPU))


@pytest.fixture(scope="module")
def found() -> BenchResult:
    """A bench of three arms, two cases and two repeats; peaks are measured in the process of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "peaks_apart", peak.measured_peaks)
        return run.bench(PLAN, Callbacks())


def test_each_arm_runs_once_per_repeat_in_turns(found: BenchResult) -> None:
    """For each case, the second repeat starts with the second arm."""
    labels = ["generate", "full", "dycoke"]
    assert [arm["label"] for arm in found.arms] == labels
    order = [(each.case, each.repeat, each.turn, each.label) for each in found.runs]
    wanted = [
        (n, turn, label)
        for n, turns in enumerate((labels, [*labels[1:], labels[0]]))
        for turn, label in enumerate(turns)
    ]
    assert order == [(case, *rest) for case in (PIXELS, BATCH) for rest in wanted]


def test_phases_are_there_and_add_up(found: BenchResult) -> None:
    """Stock `generate` on pixels has no separate vision and prefill times; cases without vision have no vision time."""
    for each in found.runs:
        times = each.time_s
        assert times["first_token"] is not None
        assert times["decode"] is not None
        assert times["total"] == pytest.approx(times["first_token"] + times["decode"])
        stock_on_pixels = each.label == "generate" and each.case.vision
        assert (times["vision"] is not None) == (each.case.vision and each.label != "generate")
        assert (times["prefill"] is None) == stock_on_pixels
        if not stock_on_pixels:
            assert times["first_token"] == pytest.approx((times["vision"] or 0) + (times["prefill"] or 0))
        assert len(each.counts.read) == each.case.new_tokens - 1


def test_each_arm_reads_what_it_should(found: BenchResult) -> None:
    """All 144 tokens; for dycoke 69 in the prefill (3 of 4 frames lose 25 of 36) and 30 % of these per step."""
    for each in found.runs:
        kept, read = (69, 21) if each.label == "dycoke" else (144, 144)
        assert (each.counts.entered, each.counts.kept, set(each.counts.read)) == (kept, kept, {read})
        assert each.counts.others == len(BEFORE) + len(AFTER) + 1  # one newline


def test_limits_tower_and_peaks_are_measured(found: BenchResult) -> None:
    """Limits, tower times, and one peak for each arm and case are present."""
    assert found.limits is not None
    assert found.limits.threads == 1  # a network this small uses one thread
    assert found.tower is not None
    assert len(found.tower.time_s) == 2
    assert min(found.tower.time_s) > 0
    assert found.assembly is not None
    assert (found.assembly.frames, found.assembly.label, len(found.assembly.time_s)) == (4, "dycoke", 2)
    assert min(found.assembly.time_s) > 0
    assert found.peaks.keys() == {(arm["label"], case) for arm in found.arms for case in (PIXELS, BATCH)}
    assert found.failures == []
    assert not found.interrupted


@pytest.mark.parametrize(
    ("options", "parts"), [({}, [16, 4]), ({"variant": "official"}, [20])], ids=["paper", "official"]
)
def test_assembly_compresses_as_the_engine_does(
    demo: Llava, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], parts: list[int]
) -> None:
    """20 frames in parts of 16; by a method without windows at once; both in an unmeasured and a measured run."""
    seen, original = [], Dycoke.compress

    def watched(self: Dycoke, tokens: VisualTokens) -> VisualTokens:
        seen.append(tokens.grid.frames)
        return original(self, tokens)

    monkeypatch.setattr(Dycoke, "compress", watched)
    trial = run._assembly(demo, Arm.of("dycoke", options), 20, 1)
    assert seen == parts * 2
    assert len(trial.time_s) == 1


def test_results_are_saved_after_each_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """`save` gets the runs of the first case before the second one runs."""
    monkeypatch.setattr(run, "measure_limits", lambda device, dtype: LIMITS)
    monkeypatch.setattr(run, "peaks_apart", lambda spec: [1] * len(spec["cases"]))
    saved: list[list[Case]] = []
    run.bench(PLAN, Callbacks(), lambda result: saved.append([each.case for each in result.runs]))
    assert saved == [[PIXELS] * 6, [PIXELS] * 6 + [BATCH] * 6]


def test_arms_give_the_same_tokens_from_the_same_inputs(demo: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock `generate` and `full` produce equal tokens, from pixels alone and from embeddings in a batch."""
    produced: dict[str, list[list[int]]] = {"generate": [], "full": []}
    stock_generate = demo.model.generate

    def watched(*arguments: Any, **keywords: Any) -> Any:
        steps = list(generate(*arguments, **keywords))
        produced["full"].append([token for step in steps for token in step.tokens])
        return iter(steps)

    def watched_stock(*arguments: Any, **keywords: Any) -> Any:
        given = stock_generate(*arguments, **keywords)
        produced["generate"].append(keywords["streamer"].ids)
        return given

    monkeypatch.setattr("dycoke_cli.bench.arms.generate", watched)
    monkeypatch.setattr(demo.model, "generate", watched_stock)
    for case in (PIXELS, BATCH):
        rows = [] if case.vision else synthetic_rows(demo, case)
        for arm in (StockArm(demo), EngineArm(demo, Arm.of("full", {}))):
            arm.run(case, Noise(demo), rows)
    assert produced["generate"] == produced["full"]
    assert [len(ids) for ids in produced["full"]] == [4, 8]


def test_needs_by_hand(demo: Llava) -> None:
    """A batch of 2 doubles FLOPs and key bytes, not weight bytes; layers before L read all cached tokens."""
    language = demo.language_model
    counts = Counts(entered=60, kept=60, others=10, read=(20, 20))
    full_counts = replace(counts, read=(60, 60))
    key = 2 * language.kv_heads * language.head_dim * 4  # bytes in one layer
    depth, plain = Depth.of(Dycoke(l=3), 4), Depth.of(Full(), 4)
    one = run.minimum_work(language, replace(BATCH, batch=1), counts, depth)
    two = run.minimum_work(language, BATCH, counts, depth)
    # Other keys: 10 of the prompt, 1 or 2 new ones, mean 11.5. Visual keys: 60 in three layers, 20 in one.
    assert one.kv_bytes == round(key * (4 * 11.5 + 3 * 60 + 20))
    assert run.minimum_work(language, replace(BATCH, batch=1), full_counts, plain).kv_bytes == round(key * 4 * 71.5)
    assert (two.kv_bytes, two.prefill_flops) == (2 * one.kv_bytes, 2 * one.prefill_flops)
    body = sum(weight.numel() for weight in language.body.parameters())
    assert one.weight_bytes == two.weight_bytes == 4 * body  # tied: the output layer is the embedding


def test_tokens_dropped_in_the_prefill_are_not_counted(demo: Llava) -> None:
    """With FastV half of the layers process fewer tokens, so FLOPs and key bytes are lower."""
    arm = EngineArm(demo, Arm("fastv", Fastv(l=2, keep=0.5)))
    measured = arm.run(PIXELS, Noise(demo), [])
    assert (measured.counts.entered, measured.counts.kept) == (144, 72)
    full = EngineArm(demo, Arm.of("full", {}))
    less = run.minimum_work(demo.language_model, PIXELS, measured.counts, arm.depth)
    more = run.minimum_work(demo.language_model, PIXELS, full.run(PIXELS, Noise(demo), []).counts, full.depth)
    assert 0.6 < less.prefill_flops / more.prefill_flops < 0.85
    assert less.kv_bytes < more.kv_bytes


def test_synthetic_rows_differ(demo: Llava) -> None:
    """The prompts of a batch have different tokens, equal in every call."""
    first, second = synthetic_rows(demo, BATCH)
    again, _ = synthetic_rows(demo, BATCH)
    assert len(first) == 144
    assert not torch.equal(first.features, second.features)
    assert torch.equal(first.features, again.features)


@pytest.mark.parametrize("when", [1, 6])
def test_an_interrupted_bench_returns_its_measurements(when: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C during a repeat, the earlier runs are present."""
    calls, original = [], EngineArm.run

    def stopping(self: EngineArm, case: Case, source: Any, rows: Any) -> Measured:
        calls.append(case)
        if len(calls) == when:
            raise KeyboardInterrupt
        return original(self, case, source, rows)

    monkeypatch.setattr(EngineArm, "run", stopping)
    monkeypatch.setattr(run, "measure_limits", lambda device, dtype: LIMITS)
    found = run.bench(PLAN, Callbacks())
    assert found.interrupted
    assert len(found.runs) == {1: 0, 6: 4}[when]
    assert found.limits is not None


def test_an_arm_without_room_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other arms continue, and the failure contains its label."""

    def out_of_memory(*arguments: object) -> object:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(StockArm, "run", out_of_memory)
    monkeypatch.setattr(run, "measure_limits", lambda device, dtype: LIMITS)
    monkeypatch.setattr(run, "peaks_apart", lambda spec: [1] * len(spec["cases"]))
    found = run.bench(replace(PLAN, cases=(BATCH,)), Callbacks())
    assert {each.label for each in found.runs} == {"full", "dycoke"}
    assert [(each["label"], each["error"]) for each in found.failures] == [("generate", "the device ran out of memory")]


def test_an_arm_that_cannot_run_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer beyond the network raises UsageError."""

    def made(*arguments: object) -> object:
        raise AssertionError("a network was built")

    monkeypatch.setattr(Shape, "build", made)
    with pytest.raises(UsageError, match="l=9"):
        run.bench(replace(PLAN, arms=(Arm.of("dycoke", {"l": "9"}),)), Callbacks())


def test_a_peak_in_a_separate_process() -> None:
    """One arm and one case have a peak; a failing process raises an error with the last line of its stderr."""
    spec = {
        "shape": {"name": "demo", "layers": 4},
        "arm": "dycoke",
        "cases": [{"frames": 8, "visual": 288, "batch": 1, "new_tokens": 2, "vision": True}],
        "settings": Settings(device="cpu").model_dump(),
        "video": None,
        "threads": 1,
    }
    (bytes_above,) = peak.peaks_apart(spec)
    assert bytes_above is None or bytes_above > np.prod((8, 36, 128)) * 4
    with pytest.raises(OutOfMemoryError, match="'8b'"):
        peak.peaks_apart({**spec, "shape": {"name": "8b", "layers": 4}})


def test_limits_are_of_this_machine() -> None:
    """Rates are within wide bounds for any machine, with the dtype and thread count of the measurement."""
    limits = measure_limits(CPU, torch.float32)
    assert 1e7 < limits.copy_bytes_per_s < 1e13
    assert 1e7 < limits.matrix_flops_per_s < 1e15
    assert (limits.dtype, limits.threads) == ("float32", torch.get_num_threads())


@pytest.mark.gpu
def test_on_cuda_peaks_are_the_allocators() -> None:
    """On CUDA every arm and case has a peak, measured without a separate process."""
    found = run.bench(replace(PLAN, settings=Settings(device="cuda")), Callbacks())
    assert found.failures == []
    assert found.limits is not None
    assert found.limits.threads is None
    assert all(found.peaks[arm["label"], case] for arm in found.arms for case in PLAN.cases)
