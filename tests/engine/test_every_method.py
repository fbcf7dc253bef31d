"""Properties of whole runs, from pixels to tokens, for every method in METHODS."""

from collections.abc import Callable

import pytest
import torch

from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.registry import METHODS
from dycoke_cli.models.families.llava import Llava
from tests.engine.test_generate import GREEDY, QUESTIONS, answer, frames, prompt_for, read_set, run, traces_on

EVERY = [*METHODS, "random+dynamic", "vidcom2+dynamic", "holitom+dynamic", "evs+fastv"]


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_answers_as_each_alone(tiny: Llava, name: str) -> None:
    """Three videos of different length with different questions give the same result in a batch as alone."""
    method = make_method(name, {})
    prompts = [
        prompt_for(tiny, frames(count, start), question, method)
        for count, start, question in zip((5, 12, 9), (2, 0, 5), QUESTIONS, strict=True)
    ]
    together = run(tiny, prompts, method, new=6)
    for row, prompt in enumerate(prompts):
        alone = run(tiny, [prompt], method, new=6)
        assert answer(together, row) == answer(alone)
        for ours, single in zip(together, alone, strict=False):
            mine = ours.row(row)
            torch.testing.assert_close(mine.logits, single.logits, atol=2e-5, rtol=0)
            assert read_set(mine) == read_set(single)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "evs+fastv"])
def test_all_of_it_is_the_uncompressed_prefill(tiny: Llava, name: str) -> None:
    """With --retain 1 the prefill logits are bit-equal to those of `full`."""
    method = with_retain(make_method(name, {}), 1.0, tiny.facts, tiny.grid(6))
    wanted = run(tiny, [prompt_for(tiny, frames(6), QUESTIONS[0], Full())], Full(), new=1)
    ours = run(tiny, [prompt_for(tiny, frames(6), QUESTIONS[0], method)], method, new=1)
    assert torch.equal(ours[0].logits, wanted[0].logits)


@pytest.mark.parametrize("name", EVERY)
def test_runs_leave_nothing_behind(tiny: Llava, name: str) -> None:
    """Whole and abandoned runs, with saliency, leave the vision tower and the language model unchanged."""
    method = make_method(name, {})
    before = {key: traces_on(module) for key, module in tiny.model.named_modules()}
    config = tiny.model.config.to_dict()
    prompt = prompt_for(tiny, frames(5), QUESTIONS[0], method)
    run(tiny, [prompt], method, new=3)
    next(iter(generate(tiny.language_model, [prompt], method, Stop(tiny.stop_ids, 9), GREEDY)))
    assert {key: traces_on(module) for key, module in tiny.model.named_modules()} == before
    assert tiny.model.config.to_dict() == config


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("layout", ["grid", "frame", "one_token", "no_token"])
def test_every_newline_layout(name: str, layout: str, load_golden: Callable[..., Llava]) -> None:
    """The kept tokens have increasing slots and positions in every newline layout, and logits are finite."""
    model = load_golden("tiny-ov", newline=layout)
    method = make_method(name, {})
    prompt = prompt_for(model, frames(6), QUESTIONS[0], method)
    assert bool((prompt.visual.diff() > 0).all())
    assert bool((prompt.positions.diff() > 0).all())
    (step,) = run(model, [prompt], method, new=1)
    assert bool(step.logits.isfinite().all())
