"""Compiled decode steps equal eager ones, with one graph per kind of step for all lengths."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dycoke_cli.bench.plan import BenchOptions, make_plan
from dycoke_cli.bench.run import bench
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine import compiled
from dycoke_cli.engine.compiled import Compiler, check_compiler, opaque
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.operators import Operators
from dycoke_cli.errors import ModelError, UsageError
from dycoke_cli.methods.arm import Arm
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.checkpoints import locate
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.batch import BatchSession
from dycoke_cli.session.load import load_model
from dycoke_cli.session.session import Session
from dycoke_cli.system.callbacks import Callbacks
from tests.conftest import golden_model
from tests.engine.test_generate import QUESTIONS, frames, prompt_for, run
from tests.engine.test_graph import Replays, assert_same, attend_plainly, static
from tests.session.test_session import clip

CPU = torch.device("cpu")
METHODS = [
    make_method("full", {}),
    make_method("dycoke", {"gate": "0.97", "l": "2"}),
    make_method("fastv+dynamic", {"fastv.l": "1", "dynamic.l": "2"}),
]


class Counting:
    """A torch.compile backend that runs traced graphs eagerly and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def cut_to(layers: int) -> Llava:
    """Return the tiny model with its first `layers` layers, as compile time grows with their number."""
    whole = golden_model("tiny-ov")
    model = copy.deepcopy(whole.model)
    body = model.model.language_model
    body.layers = body.layers[:layers]
    body.config.num_hidden_layers = layers
    return Llava(model, whole.tokenizer, whole.layout)


@pytest.fixture(scope="module")
def low() -> Llava:
    """The tiny model with three layers: the scored one, one before and one after it."""
    return cut_to(3)


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> None:
    """Discard what other tests have compiled."""
    torch.compiler.reset()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name} {method.options()}")
def test_the_compiled_step_is_the_eager_step(low: Llava, method: Method) -> None:
    """Tokens, sets and scores are equal at every length; all steps of two runs use one graph, compiled once."""
    backend = Counting()
    store = GraphStore(CPU, compiled=Compiler(backend))
    for count in (12, 9):
        prompt = prompt_for(low, frames(count), QUESTIONS[0], method)
        assert_same(static(low, [prompt], method, store, 6), run(low, [prompt], method, new=6), 1)
    assert backend.graphs == 1


def test_warming_up_compiles_for_what_follows(low: Llava) -> None:
    """After `warm_up` a session compiles nothing more, for one question or several that share a prefill."""
    backend, session = Counting(), Session(low, clip(8), Dycoke(l=2), Settings(max_new_tokens=4))
    session.graphs = GraphStore(CPU, compiled=Compiler(backend))
    session.warm_up()
    assert backend.graphs == 1
    list(session.answers(QUESTIONS[:2], Callbacks()))
    list(session.answers(QUESTIONS[:1], Callbacks()))
    assert backend.graphs == 1


def test_a_batch_of_different_lengths(low: Llava) -> None:
    """Rows of different length compile to one graph of their own."""
    method, backend = make_method("dycoke", {"gate": "0.97", "l": "2"}), Counting()
    prompts = [prompt_for(low, frames(n), text, method) for n, text in zip((5, 12, 9), QUESTIONS, strict=True)]
    store = GraphStore(CPU, compiled=Compiler(backend))
    assert_same(static(low, prompts, method, store, 6), run(low, prompts, method, new=6), 3)
    assert backend.graphs == 1


def test_a_compiled_step_is_captured(low: Llava) -> None:
    """Compiled steps with padded shapes and an opaque kernel can be captured, as on CUDA."""
    method, backend, capture = make_method("dycoke", {"gate": "0.97", "l": "2"}), Counting(), Replays()
    store = GraphStore(CPU, capture, bucket=32, operators=Operators(attend=attend_plainly), compiled=Compiler(backend))
    for count in (12, 9, 16):
        prompt = prompt_for(low, frames(count), QUESTIONS[0], method)
        assert_same(static(low, [prompt], method, store, 5), run(low, [prompt], method, new=5), 1)
    assert capture.captures == 2
    assert backend.graphs == 1


@pytest.mark.filterwarnings("ignore")  # inductor warns of versions and missing tools
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")
def test_inductor_computes_the_same() -> None:
    """The inductor backend computes the same values within float32."""
    model, method = cut_to(2), Dycoke(l=1)
    prompt = prompt_for(model, frames(9), QUESTIONS[0], method)
    store = GraphStore.of(model.language_model, compiled=True)
    assert_same(static(model, [prompt], method, store, 5), run(model, [prompt], method, new=5), 1)


def test_a_model_that_cannot_be_compiled_is_refused() -> None:
    """ModelError with the reason and a remedy."""

    def refuse(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        raise RuntimeError("no such instruction")

    model, method = cut_to(1), Full()
    prompt = prompt_for(model, frames(5), QUESTIONS[0], method)
    with pytest.raises(ModelError, match=r"cannot be compiled: .*no such instruction") as caught:
        static(model, [prompt], method, GraphStore(CPU, compiled=Compiler(refuse)), 3)
    assert "--compile" in caught.value.remedy


def test_a_missing_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """UsageError names the missing compiler, for the CPU and for CUDA."""
    monkeypatch.delenv("CXX", raising=False)
    check_compiler(CPU) if shutil.which("g++") else None
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiled.sys, "platform", "linux")
    with pytest.raises(UsageError, match=r"the C\+\+ compiler 'g\+\+'"):
        check_compiler(CPU)
    monkeypatch.setenv("CXX", "/opt/none/c++")
    with pytest.raises(UsageError, match="/opt/none"):
        check_compiler(CPU)
    monkeypatch.setattr(compiled, "find_spec", lambda name: object())
    with pytest.raises(UsageError, match="a C compiler"):
        check_compiler(torch.device("cuda"))
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="Triton"):
        check_compiler(torch.device("cuda"))


def test_compile_is_refused_before_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In `load_model`, which every command uses, and in the benchmark."""
    monkeypatch.setattr("dycoke_cli.models.loading.load", lambda *args, **kwargs: pytest.fail("a model was loaded"))
    monkeypatch.setattr("dycoke_cli.bench.random_model.Shape.build", lambda *args: pytest.fail("a model was built"))
    settings = Settings(compile=True, model="demo", device="cpu")
    with pytest.raises(UsageError, match="one device"):
        load_model(locate("demo"), settings.model_copy(update={"device_map": "auto"}))
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    with pytest.raises(UsageError, match=r"needs the C\+\+ compiler"):
        load_model(locate("demo"), settings)
    with pytest.raises(UsageError, match=r"needs the C\+\+ compiler"):
        bench(make_plan(BenchOptions(shape="demo", repeats=1), [Arm.of("full", {})], False, settings), Callbacks())


def test_both_arms_of_a_comparison_are_compiled(low: Llava) -> None:
    """The setting applies to the method and to the uncompressed run."""
    for compiles in (False, True):
        settings = Settings(compile=compiles)
        for method in (Full(), Dycoke(l=2)):
            stores = [Session(low, clip(4), method, settings).graphs, BatchSession(low, method, settings).graphs]
            assert [store.compiled is not None for store in stores] == [compiles] * 2


def test_an_opaque_kernel_computes_the_same() -> None:
    """The operator computes what the kernel does, and is registered once."""
    kernel = opaque(attend_plainly)
    assert opaque(attend_plainly) is kernel
    store, query = torch.randn(2, 1, 8, 2, 16), torch.randn(1, 1, 4, 16)
    newest = torch.tensor([5])
    for table in (None, torch.tensor([[0, 3, -1]])):
        torch.testing.assert_close(kernel(query, store, newest, table), attend_plainly(query, store, newest, table))
