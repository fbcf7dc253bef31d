"""Decode steps with the static shapes of CUDA graphs equal eager steps; only the capture itself is replaced."""

from collections.abc import Callable
from itertools import combinations

import pytest
import torch

from dycoke_cli.engine.attention import grouped_attention
from dycoke_cli.engine.decode import Outcome
from dycoke_cli.engine.generate import Step, Stop, generate
from dycoke_cli.engine.graph import CapturedStep
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.operators import Operators
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.tokens import Prompt
from tests.engine.test_generate import GREEDY, QUESTIONS, answer, frames, prompt_for, read_set, run

NEW = 9
METHODS = [
    make_method("full", {}),
    make_method("dycoke", {"gate": "0.97"}),
    make_method("dycoke", {"variant": "official", "k": "0.5"}),
    make_method("fastv", {}),
    make_method("fastv+dynamic", {"fastv.l": "2", "dynamic.l": "3"}),
    make_method("vidcom2+dynamic", {}),
]


class Replays:
    """Replaces the capture: counts captures, and returns the function as its own replay."""

    def __init__(self) -> None:
        self.captures = 0

    def __call__(self, function: Callable[[], Outcome]) -> Callable[[], Outcome]:
        self.captures += 1
        return function


def static(model: Llava, prompts: list[Prompt], method: Method, store: GraphStore, new: int = NEW) -> list[Step]:
    stop = Stop(model.stop_ids, new)
    return list(generate(model.language_model, prompts, method, stop, GREEDY, graphs=store))


def assert_same(ours: list[Step], wanted: list[Step], rows: int) -> None:
    for row in range(rows):
        assert answer(ours, row) == answer(wanted, row)
        for mine, eager in zip(ours, wanted, strict=True):
            if mine.tokens[row] is not None:
                torch.testing.assert_close(mine.row(row).logits, eager.row(row).logits, atol=2e-5, rtol=0)
                assert read_set(mine.row(row)) == read_set(eager.row(row))
                if mine.scores is not None and eager.scores is not None:
                    torch.testing.assert_close(mine.row(row).scores, eager.row(row).scores, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name} {method.options()}")
def test_the_static_step_is_the_eager_step(tiny: Llava, method: Method) -> None:
    """Padded shapes and masks change no token, set or score, alone and in a batch, in first and later runs."""
    capture = Replays()
    store = GraphStore(torch.device("cpu"), capture, bucket=32)
    lengths = ((5, 12, 9), (6, 12, 8))
    for counts in lengths:
        prompts = [prompt_for(tiny, frames(n), text, method) for n, text in zip(counts, QUESTIONS, strict=True)]
        assert_same(static(tiny, prompts, method, store), run(tiny, prompts, method, new=NEW), 3)
        assert_same(static(tiny, prompts[:1], method, store), run(tiny, prompts[:1], method, new=NEW), 1)
    assert capture.captures >= 2


def test_a_step_that_cannot_be_captured_runs_as_it_is(tiny: Llava, caplog: pytest.LogCaptureFixture) -> None:
    """The answer is the same, with a warning; an out-of-memory error is raised."""

    def refuse(function: Callable[[], Outcome]) -> Callable[[], Outcome]:
        raise error

    method, error = METHODS[1], RuntimeError("operation not permitted when stream is capturing")
    prompt = prompt_for(tiny, frames(9), QUESTIONS[0], method)
    store = GraphStore(torch.device("cpu"), refuse)
    assert_same(static(tiny, [prompt], method, store, 4), run(tiny, [prompt], method, new=4), 1)
    assert "not captured" in caplog.text
    error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        static(tiny, [prompt], method, GraphStore(torch.device("cpu"), refuse))


def attend_plainly(
    query: torch.Tensor, store: torch.Tensor, newest: torch.Tensor, table: torch.Tensor | None
) -> torch.Tensor:
    """Compute what the kernel of decode steps computes, in PyTorch; see `kernels.attention.attend_in_place`."""
    slots = store.shape[2]
    if table is None:
        places = torch.arange(slots).repeat(len(newest), 1)
        table = torch.where(places <= newest[:, None], places + torch.arange(len(newest))[:, None] * slots, -1)
    keys, values = (half.flatten(0, 1)[table.clamp(min=0)].transpose(1, 2) for half in store)
    return grouped_attention(query, keys, values, (table >= 0)[:, None, None])


@pytest.mark.parametrize("method", METHODS[1:5], ids=lambda method: f"{method.name} {method.options()}")
def test_a_kernel_that_reads_in_place_changes_nothing(tiny: Llava, method: Method) -> None:
    """With a kernel that reads the buffer in place, results are equal and one graph serves a whole run."""
    capture = Replays()
    store = GraphStore(torch.device("cpu"), capture, bucket=4, operators=Operators(attend=attend_plainly))
    prompts = [prompt_for(tiny, frames(n), text, method) for n, text in zip((5, 12, 9), QUESTIONS, strict=True)]
    assert_same(static(tiny, prompts, method, store), run(tiny, prompts, method, new=NEW), 3)
    assert capture.captures == 1


def test_runs_of_one_shape_share_their_graphs(tiny: Llava) -> None:
    """A run whose length is in the same bucket captures nothing; one in another bucket does."""
    method, capture = make_method("dycoke", {}), Replays()
    store = GraphStore(torch.device("cpu"), capture, bucket=32)
    for count, captures in ((12, 1), (11, 1), (12, 1), (16, 2)):
        prompt = prompt_for(tiny, frames(count), QUESTIONS[0], method)
        assert_same(static(tiny, [prompt], method, store, 3), run(tiny, [prompt], method, new=3), 1)
        assert capture.captures == captures, count
    assert len(store.steps) == 1


@pytest.mark.parametrize("warm_ups", [0, 2, 7])
def test_the_first_steps_are_the_warm_up(tiny: Llava, warm_ups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of steps before a capture does not change the result; they compute each token once."""
    method, runs, work = make_method("dycoke", {"gate": "0.97"}), 0, CapturedStep.run

    def counted(self: CapturedStep) -> Outcome:
        nonlocal runs
        runs += 1
        return work(self)

    prompt = prompt_for(tiny, frames(9), QUESTIONS[0], method)
    wanted = run(tiny, [prompt], method, new=NEW)
    monkeypatch.setattr("dycoke_cli.engine.graph.WARM_UPS", warm_ups)
    monkeypatch.setattr(CapturedStep, "run", counted)
    store = GraphStore(torch.device("cpu"), Replays(), bucket=4)  # a capture every few steps
    assert_same(static(tiny, [prompt], method, store), wanted, 1)
    assert runs == NEW - 1


def test_a_graph_is_captured_only_if_it_pays(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before the first steps have warmed up, nor for the few that may follow them; later runs replay at once."""
    monkeypatch.setattr("dycoke_cli.engine.graph.WARM_UPS", 3)
    monkeypatch.setattr("dycoke_cli.engine.graph.LEAST_LEFT", 4)
    method = make_method("dycoke", {})
    prompt = prompt_for(tiny, frames(9), QUESTIONS[0], method)
    for new, captures in ((2, [0, 0]), (7, [0, 1]), (8, [1, 1])):
        capture = Replays()
        store = GraphStore(torch.device("cpu"), capture)
        for wanted in captures:
            static(tiny, [prompt], method, store, new)
            assert capture.captures == wanted, new


def test_every_tensor_of_a_step_keeps_its_place(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step may replace a tensor, as a graph reads and writes the addresses at which it was captured."""
    places: list[dict[str, int]] = []
    whole = CapturedStep.__call__

    def noted(self: CapturedStep, tokens: torch.Tensor) -> Outcome:
        outcome = whole(self, tokens)
        places.append({name: tensor.data_ptr() for name, tensor in self.tensors()})
        return outcome

    monkeypatch.setattr(CapturedStep, "__call__", noted)
    for method in METHODS:
        places.clear()
        prompt = prompt_for(tiny, frames(9), QUESTIONS[0], method)
        static(tiny, [prompt], method, GraphStore(torch.device("cpu"), Replays()))
        assert len(places) > 2
        assert all(later == places[0] for later in places)


@pytest.mark.parametrize("capture", [None, Replays()], ids=["eager", "static"])
def test_rows_that_have_ended_leave_the_batch(tiny: Llava, capture: Replays | None) -> None:
    """Answers in a batch equal those alone while rows end in any order and are removed."""
    method, sampling = make_method("dycoke", {"k": "0.5"}), Sampling(repetition_penalty=1.2)
    prompts = [
        prompt_for(tiny, frames(count), text, method)
        for count, text in zip((4, 9, 6, 12, 5), [*QUESTIONS, "What?", "Who was it?"], strict=True)
    ]
    alone = [answer(run(tiny, [prompt], method, new=12, sampling=sampling)) for prompt in prompts]

    def lengths(ends: frozenset[int]) -> list[int]:
        return [next((at for at, token in enumerate(tokens) if token in ends), 12) for tokens in alone]

    pairs = [frozenset(pair) for pair in combinations(sorted({token for tokens in alone for token in tokens}), 2)]
    ends = max(pairs, key=lambda pair: len(set(lengths(pair)) - {0}))
    assert len(set(lengths(ends))) >= 3
    model, stop = tiny.language_model, Stop(ends, 12)
    single = [answer(list(generate(model, [prompt], method, stop, sampling))) for prompt in prompts]
    store = GraphStore(torch.device("cpu"), capture, bucket=16)
    steps = list(generate(model, prompts, method, stop, sampling, graphs=store))
    assert [answer(steps, row) for row in range(5)] == single
    rows = [len(step.rows) for step in steps]
    assert rows == sorted(rows, reverse=True)
    if capture is None:
        running = [sum(token is not None for token in step.tokens) for step in steps]
        assert rows == running
    assert rows[-1] < 5
