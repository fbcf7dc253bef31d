"""`generate` with a static cache and a compiled forward: same tokens, nothing compiled in a measured run, no traces."""

import gc
import os
import shutil
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from dycoke_cli.comparison import compiled_stock
from dycoke_cli.comparison.compiled_stock import CompiledForward
from dycoke_cli.comparison.run import compare
from dycoke_cli.comparison.stock import StockGenerate
from dycoke_cli.comparison.stock_config import CompileFailed, compile_config, generation_of
from dycoke_cli.comparison.summary import summarise
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine import compiled
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.arm import Arm
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED, split_stock
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.answer import Answer
from dycoke_cli.video import bundled_clips
from tests.comparison.counting import compile_with, count_compilations
from tests.conftest import golden_model
from tests.engine.test_compiled import cut_to
from tests.session.test_session import clip

CPU = torch.device("cpu")
QUESTION = "What happens?"


@pytest.fixture
def tiny_stock(monkeypatch: pytest.MonkeyPatch) -> Llava:
    """The tiny model; stock `generate` finds its video by a token id that the tokenizer never returns."""
    model = golden_model("tiny-ov")
    monkeypatch.setattr(model.model.config, "video_token_index", 415)
    return model


def assert_same(ours: Answer, theirs: Answer, new: int) -> None:
    """Text, counts and steps of two answers are equal, and both have `new` steps."""
    assert (ours.answer, ours.finish, ours.tokens, ours.steps) == (
        theirs.answer,
        theirs.finish,
        theirs.tokens,
        theirs.steps,
    )
    assert len(ours.steps) == new


@pytest.mark.filterwarnings("ignore")  # inductor warns of versions and missing tools
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")
def test_transformers_compiles_and_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With transformers' own configuration, on the CPU, the answer is that of plain `generate`."""
    torch.compiler.reset()
    model = cut_to(2)
    monkeypatch.setattr(model.model.config, "video_token_index", 415)
    plain = StockGenerate(model, clip(4), 6).answer(QUESTION)
    stock = StockGenerate(model, clip(4), 6, STOCK_COMPILED)
    answer = stock.answer(QUESTION)
    assert_same(answer, plain, 6)
    assert len(stock.compiling_s) == 1
    assert stock.compiling_s[0] > 2 * answer.time_s.total


@pytest.mark.parametrize("newline", ["one_token", "grid"])
def test_only_the_first_run_compiles(newline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph, from pixels and from embeddings; each length of the cache is compiled once."""
    graphs = count_compilations(monkeypatch)
    model = golden_model("tiny-ov", newline=newline)
    monkeypatch.setattr(model.model.config, "video_token_index", 415)
    plain = StockGenerate(model, clip(4), 5).answer(QUESTION)
    stock, longer = (StockGenerate(model, clip(4), new, STOCK_COMPILED) for new in (5, 7))
    longer.forward = stock.forward
    for _ in range(3):
        assert_same(stock.answer(QUESTION), plain, 5)
    assert (len(graphs), len(stock.compiling_s)) == (1, 1)
    assert_same(longer.answer(QUESTION), StockGenerate(model, clip(4), 7).answer(QUESTION), 7)
    assert (len(graphs), len(longer.compiling_s)) == (2, 1)
    assert_same(stock.answer(QUESTION), plain, 5)  # a cache of its own length again, so nothing is compiled
    assert (len(graphs), len(stock.compiling_s)) == (2, 1)


def test_the_model_is_as_before(tiny_stock: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run, plain `generate` has a dynamic cache and no compiled forward; settings and variables are equal."""
    count_compilations(monkeypatch)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    model, given = tiny_stock.model, tiny_stock.model.generation_config.to_dict()
    before = set(vars(model))
    caches: list[str] = []

    def watch(module: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        cache = keywords.get("cache", keywords.get("past_key_values"))  # its name before transformers 5.24
        caches.append(type(cache).__name__)

    first = StockGenerate(tiny_stock, clip(4), 5).answer(QUESTION)
    StockGenerate(tiny_stock, clip(4), 5, STOCK_COMPILED).answer(QUESTION)
    assert set(vars(model)) == before
    assert model.generation_config.to_dict() == given
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    monkeypatch.setattr(type(model), "get_compiled_call", lambda *arguments: pytest.fail("the forward is compiled"))
    with model.register_forward_pre_hook(watch, with_kwargs=True):
        assert_same(StockGenerate(tiny_stock, clip(4), 5).answer(QUESTION), first, 5)
    assert caches == ["DynamicCache"] * 5


def test_the_cache_has_room_for_the_longest_answer(tiny_stock: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of keys and values are those of the static cache: prompt and new tokens, but for the last."""
    count_compilations(monkeypatch)
    stock = StockGenerate(tiny_stock, clip(4), 9, STOCK_COMPILED)
    monkeypatch.setattr(stock.generation, "eos_token_id", list(range(400)))  # the first token ends the answer
    answer = stock.answer(QUESTION)
    per_token = tiny_stock.language_model.kv_bytes_per_token
    assert answer.memory_bytes.kv - answer.memory_bytes.kv_uncompressed == 8 * per_token
    assert answer.tokens.generated == 1


def test_reset_frees_what_was_compiled(tiny_stock: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reset nothing refers to the compiled code, and the next run compiles again."""
    alive: list[weakref.ref[Any]] = []

    class Compiled:
        def __init__(self, graph: torch.fx.GraphModule) -> None:
            self.graph = graph

        def __call__(self, *arguments: Any) -> Any:
            return self.graph.forward(*arguments)

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        made = Compiled(graph)
        alive.append(weakref.ref(made))
        return made

    compile_with(monkeypatch, backend)
    stock = StockGenerate(tiny_stock, clip(4), 4, STOCK_COMPILED)
    assert stock.forward is not None
    stock.answer(QUESTION)
    gc.collect()
    assert [ref() is not None for ref in alive] == [True]
    stock.forward.reset()
    gc.collect()
    assert [ref() is not None for ref in alive] == [False]
    stock.answer(QUESTION)
    assert len(alive) == 2


def test_what_cannot_be_compiled_is_one_line(tiny_stock: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """CompileFailed with the reason and a remedy; the model is as before."""

    def refuse(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        raise RuntimeError("no such instruction")

    compile_with(monkeypatch, refuse)
    before = set(vars(tiny_stock.model))
    with pytest.raises(CompileFailed, match=r"cannot be compiled: .*no such instruction") as caught:
        StockGenerate(tiny_stock, clip(4), 4, STOCK_COMPILED).answer(QUESTION)
    assert "\n" not in caught.value.message
    assert STOCK_COMPILED in caught.value.remedy
    assert set(vars(tiny_stock.model)) == before


def test_a_model_that_transformers_does_not_compile_is_refused(
    tiny_stock: Llava, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`generate` only logs that it compiles nothing, for example for layers on several devices."""
    count_compilations(monkeypatch)
    monkeypatch.setattr(type(tiny_stock.model), "_valid_auto_compile_criteria", lambda *arguments: False)
    with pytest.raises(CompileFailed, match="does not compile"):
        StockGenerate(tiny_stock, clip(4), 4, STOCK_COMPILED).answer(QUESTION)


def test_a_forward_that_compiles_in_every_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No measured run may contain a compilation."""
    graphs = iter(range(100))
    monkeypatch.setattr(compiled_stock, "_graphs", lambda: next(graphs))
    model = torch.nn.Linear(1, 1)
    forward = CompiledForward(model)
    forward.kept = {"_compiled_call": print}
    with pytest.raises(CompileFailed, match="again"):
        forward.settled(lambda: None)


def test_a_missing_compiler_is_named_with_the_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Message and remedy name `generate:compiled`; with several devices it is refused too. Nothing is decoded."""
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setattr("dycoke_cli.comparison.run.open_video", lambda *given: pytest.fail("a video was opened"))
    with pytest.raises(UsageError, match=f"^{STOCK_COMPILED} needs ") as caught:
        compiled.check_compiler(CPU, STOCK_COMPILED)
    assert caught.value.remedy.endswith(f"leave out {STOCK_COMPILED}")
    for settings, what in ((Settings(), "needs"), (Settings(device_map="auto"), "one device")):
        with pytest.raises(UsageError, match=what):
            compare(str(bundled_clips.VIDEO), "what?", [], settings, compiled_stock=True)


def test_a_comparison_reports_the_compile_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the compiled arm alone; it stands after `generate`, and answers as it does."""
    count_compilations(monkeypatch)
    settings = Settings(model="demo", frames=4, max_new_tokens=4)
    arms = [Arm.of("full", {})]
    found = compare(
        str(bundled_clips.VIDEO), bundled_clips.QUESTION, arms, settings, stock=True, repeats=2, compiled_stock=True
    )
    assert found.labels == ["full", STOCK, STOCK_COMPILED]
    full, stock, fast = summarise(found)
    assert full.compile_s is stock.compile_s is None
    assert fast.compile_s is not None
    assert fast.compile_s > 0
    assert fast.answer == stock.answer == full.answer
    assert fast.against_generate.speedup_total is not None
    options = {"inputs": "pixels", "cache_implementation": "static"}
    assert fast.described == {"label": STOCK_COMPILED, "name": STOCK_COMPILED, "options": options}


def test_configurations() -> None:
    """Both are greedy; the switch that compiles on a CPU is for the CPU alone, and copies keep it."""
    plain, fast = (generation_of(label, CPU, max_new_tokens=3) for label in (STOCK, STOCK_COMPILED))
    assert (plain.cache_implementation, fast.cache_implementation) == (None, "static")
    assert (plain.do_sample, fast.do_sample, fast.max_new_tokens) == (False, False, 3)
    assert fast.compile_config._compile_all_devices
    assert not compile_config(torch.device("cuda"))._compile_all_devices


def test_methods_and_stock_are_separated() -> None:
    """In their order; other options of `generate` do not exist."""
    given = ["full", STOCK_COMPILED, "dycoke:k=0.5", STOCK]
    assert split_stock(given) == (["full", "dycoke:k=0.5"], [STOCK_COMPILED, STOCK])
    with pytest.raises(UsageError, match="'generate:fast'"):
        split_stock(["generate:fast"])
