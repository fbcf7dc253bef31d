"""A comparison runs the arms separately and in turns; both baselines are uncompressed and agree."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dycoke_cli.comparison.result import Comparison
from dycoke_cli.comparison.run import compare
from dycoke_cli.comparison.stock import StockGenerate
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import DyCokeError, UsageError
from dycoke_cli.methods.arm import Arm
from dycoke_cli.methods.full import Full
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video import bundled_clips
from tests.conftest import golden_model
from tests.session.test_session import clip

SETTINGS = Settings(model="demo", frames=6, max_new_tokens=5)
ARMS = [replace(Arm.of("full", {}), baseline=True), Arm.of("dycoke", {"k": "0.5"}), Arm.of("fastv", {"l": "2"})]


@pytest.fixture(scope="module")
def found() -> Comparison:
    """A comparison of three arms and stock `generate`, two repeats, with traces."""
    return compare(str(bundled_clips.VIDEO), bundled_clips.QUESTION, ARMS, SETTINGS, stock=True, repeats=2, trace=True)


def test_each_arm_runs_once_per_repeat_in_turns(found: Comparison) -> None:
    """The second repeat starts with the second arm."""
    labels = ["full", "generate", "dycoke:k=0.5", "fastv:l=2"]
    assert found.labels == labels
    assert [run.label for run in found.runs] == [*labels, *labels[1:], "full"]
    assert [(run.repeat, run.turn) for run in found.runs] == [(r, t) for r in (0, 1) for t in range(4)]
    assert found.reference == "full"


def test_each_run_does_its_own_work(found: Comparison) -> None:
    """Every run of this engine has its own vision, prefill and step times; all share one decoding time."""
    ours = [run.answer for run in found.runs if run.label != "generate"]
    assert all(answer.time_s.vision and answer.time_s.prefill and answer.time_s.decode for answer in ours)
    assert len({run.answer.time_s.decode_video for run in found.runs}) == 1
    for label in found.labels:
        first, second = found.of(label)
        assert first.answer.answer == second.answer.answer
        assert first.answer.tokens == second.answer.tokens
        assert first.answer.time_s != second.answer.time_s


def test_stock_generate_is_the_uncompressed_answer(found: Comparison) -> None:
    """Stock `generate` has the text, counts and FLOPs of `full`; its vision and prefill times are not separate."""
    full, stock = found.of("full")[0], found.of("generate")[0]
    assert stock.answer.answer == full.answer.answer
    assert stock.answer.finish == full.answer.finish
    assert stock.answer.tokens == full.answer.tokens
    assert stock.answer.steps == full.answer.steps
    assert stock.computed == full.computed
    assert stock.answer.memory_bytes.kv == full.answer.memory_bytes.kv
    assert stock.answer.time_s.vision is stock.answer.time_s.prefill is None
    times = stock.answer.time_s
    assert 0 < times.first_token - times.decode_video < times.total
    assert times.per_token
    assert stock.method == {"label": "generate", "name": "generate", "options": {"inputs": "pixels"}}


def test_traces_are_there_for_a_report(found: Comparison) -> None:
    """Every run of this engine has a trace that matches its steps; stock `generate` has none."""
    for run in found.runs:
        assert (run.answer.trace is None) == (run.label == "generate")
        if run.answer.trace is not None:
            assert [len(read) for read in run.answer.trace.steps] == [step.read for step in run.answer.steps]


def test_arithmetic_follows_the_layers(found: Comparison) -> None:
    """fastv has fewer FLOPs than `full` by both formulas; two of its eight layers process all tokens."""
    full, fastv = found.of("full")[0].computed, found.of("fastv:l=2")[0]
    assert fastv.computed.flops_paper < full.flops_paper
    assert fastv.computed.flops_true < full.flops_true
    entered, kept = fastv.answer.tokens.visual_prefill, fastv.answer.steps[0].read
    assert fastv.answer.tokens.prefill_retention == pytest.approx((2 * entered + 6 * kept) / 8 / entered, abs=1e-6)


def test_one_budget_for_all_but_the_baseline() -> None:
    """--retain applies to the compressing arm; the baseline `full` keeps all tokens."""
    arms = [ARMS[0], Arm.of("random", {})]
    found = compare(str(bundled_clips.VIDEO), "what?", arms, SETTINGS.model_copy(update={"retain": 0.5}), repeats=1)
    assert [run.answer.tokens.prefill_retention for run in found.runs] == [1.0, 0.5]
    assert found.runs[1].method["options"]["retain"] == 0.5


@pytest.mark.parametrize(
    ("arms", "settings", "what"),
    [
        ([Arm.of("fastv", {"l": "8"})], {}, "beyond the last layer"),
        ([Arm.of("dycoke", {})], {"retain": 0.1}, "cannot retain 0.1"),
        ([Arm.of("dycoke", {"k": k}) for k in ("0.3", "0.5")], {"retain": 0.5}, "are the same method"),
    ],
    ids=["layer", "budget", "twins"],
)
def test_an_arm_that_cannot_run_is_refused_before_anything_runs(
    arms: list[Arm], settings: dict[str, float], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One arm that cannot run is enough."""

    def ran(*arguments: object, **keywords: object) -> None:
        raise AssertionError("a frame was encoded")

    monkeypatch.setattr(Llava, "encode", ran)
    with pytest.raises(UsageError, match=what):
        compare(str(bundled_clips.VIDEO), "what?", [ARMS[0], *arms], SETTINGS.model_copy(update=settings), stock=True)


def test_a_missing_video_is_one_error(tmp_path: Path) -> None:
    """A missing file raises a DyCokeError with its name, as in any command."""
    with pytest.raises(DyCokeError, match="absent"):
        compare(str(tmp_path / "absent.mp4"), "what?", ARMS, SETTINGS)


@pytest.mark.parametrize(("newline", "inputs"), [("one_token", "pixels"), ("grid", "embeddings")])
def test_stock_generate_on_any_layout(newline: str, inputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout that transformers does not support starts from embeddings; the answer is the uncompressed one."""
    model = golden_model("tiny-ov", newline=newline)
    # The stock model finds the video by a token id; the tokenizer never returns this one.
    monkeypatch.setattr(model.model.config, "video_token_index", 415)
    seen: Video = clip(4)
    before = set(vars(model.model))
    stock = StockGenerate(model, seen, 8)
    threads = torch.get_num_threads()
    (wanted,) = Session(model, seen, Full(), Settings(max_new_tokens=8)).answers(["What happens?"], Callbacks())
    answer = stock.answer("What happens?")
    assert stock.described["options"] == {"inputs": inputs}
    assert (answer.answer, answer.finish, answer.tokens) == (wanted.answer, wanted.finish, wanted.tokens)
    assert (answer.time_s.vision is None) == (inputs == "pixels")
    # The model and the number of threads are unchanged.
    assert set(vars(model.model)) == before
    assert torch.get_num_threads() == threads
