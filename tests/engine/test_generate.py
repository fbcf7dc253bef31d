"""The engine equals stock `generate` without compression; batches, shared prefills, sampling and stopping."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Step, Stop, generate, share
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import BEFORE, Llava
from dycoke_cli.tokens import Prompt
from tests.conftest import clip_frames

GREEDY = Sampling()
NO_OPS = [Full(), Dycoke(k=0, p=0), Dycoke(k=0, p=0, l=0), Dycoke(k=0, p=0, positions="original")]


def frames(count: int, start: int = 0) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = clip_frames()[start : start + count].numpy()
    return pixels


def prompt_for(model: Llava, pixels: npt.NDArray[np.uint8], question: str, method: Method) -> Prompt:
    tokens = method.compress(model.encode(pixels, saliency=method.needs_saliency))
    return model.prompt(tokens, model.question_ids(question, [], 0.0), method.positions)


def run(
    model: Llava, prompts: list[Prompt], method: Method, new: int = 12, sampling: Sampling = GREEDY, buffer: Any = None
) -> list[Step]:
    stop = Stop(model.stop_ids, new)
    return list(generate(model.language_model, prompts, method, stop, sampling, buffer))


def answer(steps: list[Step], row: int = 0) -> list[int]:
    return [token for step in steps if (token := step.tokens[row]) is not None]


def stock_generate(model: Llava, pixels: npt.NDArray[np.uint8], question: str, new: int = 12) -> Any:
    """Run `generate` of transformers from pixels to tokens, vision tower included."""
    before, after = model.tokenize(BEFORE), model.question_ids(question, [], 0.0)
    visual = model.layout.length(model.encode(pixels).grid)
    ids = torch.tensor([before + [model.model.config.video_token_index] * visual + after])
    return model.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=model.pixels(pixels)[None],
        max_new_tokens=new,
        do_sample=False,
        repetition_penalty=1.0,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=sorted(model.stop_ids),
        return_dict_in_generate=True,
        output_logits=True,
    )


@pytest.mark.parametrize("method", NO_OPS, ids=repr)
@pytest.mark.parametrize("count", [1, 3, 8])
def test_doing_nothing_is_stock_generate(
    tiny: Llava, method: Method, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same pixels, prefill logits are bit-equal to stock `generate`, later ones close, tokens the same."""
    # The stock model locates the video by a token id; the tokenizer never returns this one.
    monkeypatch.setattr(tiny.model.config, "video_token_index", 415)
    question = "What happens in the video?"
    wanted = stock_generate(tiny, frames(count), question)
    steps = run(tiny, [prompt_for(tiny, frames(count), question, method)], method)
    assert torch.equal(steps[0].logits, wanted.logits[0])
    torch.testing.assert_close(torch.cat([s.logits for s in steps]), torch.cat(wanted.logits), atol=1e-5, rtol=0)
    assert answer(steps) == wanted.sequences[0, -len(steps) :].tolist()


COMPRESSED = [Dycoke(), Dycoke(k=0.5, p=0.9, l=0), Dycoke(k=0.3, p=0.5, l=7, positions="original")]
QUESTIONS = ["What happens in the video?", "colour?", "Please describe this video in detail, from the first to last."]


def three_prompts(tiny: Llava, method: Method) -> list[Prompt]:
    """Three videos of different length, with different questions."""
    return [
        prompt_for(tiny, frames(count, start), question, method)
        for count, start, question in zip((5, 16, 9), (2, 0, 5), QUESTIONS, strict=True)
    ]


@pytest.mark.parametrize("method", [Full(), *COMPRESSED, Dycoke(variant="official")], ids=repr)
def test_a_batch_answers_as_each_alone(tiny: Llava, method: Method) -> None:
    """Three videos of different length with different questions: each row has the active set it has alone."""
    prompts = three_prompts(tiny, method)
    together = run(tiny, prompts, method)
    for row, prompt in enumerate(prompts):
        alone = run(tiny, [prompt], method)
        assert answer(together, row) == answer(alone)
        for ours, single in zip(together, alone, strict=False):
            mine = ours.row(row)
            torch.testing.assert_close(mine.logits, single.logits, atol=2e-5, rtol=0)
            assert read_set(mine) == read_set(single)


def read_set(step: Step, row: int = 0) -> set[int] | None:
    if step.selection is None:
        return None
    index = step.selection.index[row]
    valid = step.selection.valid
    return set(index.tolist() if valid is None else index[valid[row]].tolist())


@pytest.mark.parametrize("method", [Full(), *COMPRESSED], ids=repr)
def test_questions_share_one_prefill(tiny: Llava, method: Method) -> None:
    """Questions after one shared prefill, in turn or forked into a batch, have the answers of separate runs."""
    model = tiny.language_model
    prompts = [prompt_for(tiny, frames(9), question, method) for question in QUESTIONS]
    at = int(prompts[0].visual.max()) + 2
    slots = max(map(len, prompts)) + 12
    buffer = KVBuffer.empty(model, 1, slots)
    share(model, prompts[0].split(at)[0], buffer)
    fresh = [run(tiny, [prompt], method) for prompt in prompts]
    for prompt, wanted in zip(prompts, fresh, strict=True):
        buffer.rewind([at])
        steps = run(tiny, [prompt.split(at)[1]], method, buffer=buffer)
        assert answer(steps) == answer(wanted)
        torch.testing.assert_close(steps[-1].logits, wanted[-1].logits, atol=2e-5, rtol=0)
    buffer.rewind([at])
    steps = run(tiny, [prompt.split(at)[1] for prompt in prompts], method, buffer=buffer.fork(3, slots))
    assert [answer(steps, row) for row in range(3)] == [answer(wanted) for wanted in fresh]


@pytest.mark.parametrize("method", COMPRESSED, ids=repr)
def test_runs_leave_nothing_behind(tiny: Llava, method: Method) -> None:
    """Runs do not influence later ones of another length, and leave the model unchanged, also when abandoned."""
    config, attention = tiny.model.config.to_dict(), tiny.language_model.body.config._attn_implementation
    traces = {name: traces_on(module) for name, module in tiny.model.named_modules()}
    first, second = (prompt_for(tiny, frames(count), QUESTIONS[0], method) for count in (13, 5))
    alone = run(tiny, [second], method)
    run(tiny, [first], method)
    assert torch.equal(run(tiny, [second], method)[-1].logits, alone[-1].logits)
    # An abandoned run must clean up too.
    next(iter(generate(tiny.language_model, [first], method, Stop(tiny.stop_ids, 9), GREEDY)))
    assert tiny.language_model.body.config._attn_implementation == attention
    assert tiny.model.config.to_dict() == config
    assert {name: traces_on(module) for name, module in tiny.model.named_modules()} == traces


def traces_on(module: torch.nn.Module) -> tuple[Any, ...]:
    """Return what a run could change on a module: attributes, hooks, a replaced forward."""
    return set(vars(module)), list(module._forward_hooks), list(module._forward_pre_hooks), vars(module).get("forward")


def test_sampling_is_seeded_and_independent_of_the_batch(tiny: Llava) -> None:
    """The same seed gives the same tokens, alone and in a batch; another seed gives others."""
    sampling = Sampling(temperature=1.5, top_p=0.95, seed=7)
    prompts = [prompt_for(tiny, frames(count), QUESTIONS[0], Full()) for count in (5, 9)]
    together = run(tiny, prompts, Full(), sampling=sampling)
    for row, prompt in enumerate(prompts):
        assert answer(together, row) == answer(run(tiny, [prompt], Full(), sampling=sampling))
    other = run(tiny, prompts, Full(), sampling=Sampling(temperature=1.5, top_p=0.95, seed=8))
    assert answer(other) != answer(together)


def test_top_p_never_draws_from_the_tail(tiny: Llava) -> None:
    """Every sampled token is among the fewest whose probabilities sum to top_p."""
    sampling = Sampling(temperature=2.0, top_p=0.3, seed=1)
    for step in run(tiny, [prompt_for(tiny, frames(5), QUESTIONS[0], Full())], Full(), sampling=sampling):
        ranked, order = (step.logits[0] / 2.0).softmax(-1).sort(descending=True)
        nucleus = order[: int((ranked.cumsum(0) < 0.3).sum()) + 1]
        assert step.tokens[0] in nucleus.tolist()


def test_answers_stop_at_a_stop_token_and_at_the_limit(tiny: Llava) -> None:
    """A row that has ended returns None while another runs; the loop ends with the last row."""
    prompts = [prompt_for(tiny, frames(count), QUESTIONS[0], Full()) for count in (4, 8)]
    free = run(tiny, prompts, Full(), new=6)
    assert len(free) == 6
    ends = answer(free, 1)[2]
    assert ends not in answer(free, 0)
    steps = list(generate(tiny.language_model, prompts, Full(), Stop(frozenset({ends}), 6), GREEDY))
    assert answer(steps, 0) == answer(free, 0)
    assert [step.tokens[1] for step in steps] == [*answer(free, 1)[: answer(free, 1).index(ends) + 1]] + [None] * (
        5 - answer(free, 1).index(ends)
    )


def test_the_buffer_is_exactly_as_long_as_the_run(tiny: Llava) -> None:
    """The bytes per slot are those computed from the model's sizes."""
    model = tiny.language_model
    buffer = KVBuffer.empty(model, batch=2, slots=30)
    assert buffer.bytes_per_token == model.kv_bytes_per_token
    assert buffer.nbytes == 2 * 30 * model.kv_bytes_per_token
