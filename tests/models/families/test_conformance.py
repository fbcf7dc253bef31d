"""Every family equals stock `generate` without compression, and the slow reference with compression."""

from typing import Any

import pytest
import torch

from dycoke_cli.engine import prefill
from dycoke_cli.engine.generate import Step, Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.errors import UsageError
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.methods.registry import METHODS
from dycoke_cli.methods.uniform import Uniform
from dycoke_cli.models.families.family import Family, PixelArray
from dycoke_cli.tokens import Prompt
from tests.conftest import clip_frames
from tests.engine.test_generate import read_set, traces_on
from tests.models.families.reference import masked_run, pruned_logits

QUESTION = "What is it?"
NEW = 6


def clip(count: int, start: int = 0) -> tuple[PixelArray, list[float], float]:
    """Return frames, uneven times and a duration."""
    return clip_frames()[start : start + count].numpy(), [0.7 * n + 0.01 * n * n for n in range(count)], 0.9 * count


def prompt(family: Family, method: Method, count: int, question: str = QUESTION, start: int = 0) -> Prompt:
    frames, seconds, duration = clip(count, start)
    tokens = method.compress(family.encode(frames))
    return family.prompt_for(tokens, question, seconds, duration, method.positions)


def run(family: Family, prompts: list[Prompt], method: Method, new: int = NEW) -> list[Step]:
    return list(generate(family.language_model, prompts, method, Stop(family.stop_ids, new), Sampling()))


def stock(family: Family, count: int) -> Any:
    """Run transformers' own `generate` from pixels to tokens."""
    frames, seconds, duration = clip(count)
    return family.model.generate(
        **family.stock_inputs(frames, QUESTION, seconds, duration),
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=sorted(family.stop_ids),
        pad_token_id=min(family.stop_ids),
        return_dict_in_generate=True,
        output_logits=True,
    )


@pytest.mark.parametrize("method", [Full(), Dycoke(k=0, p=0), Dycoke(k=0, p=0, positions="original")], ids=repr)
@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.smoke
@pytest.mark.filterwarnings("error")  # deprecated calls of transformers
def test_doing_nothing_is_stock_generate(family: Family, method: Method, count: int) -> None:
    """Tokens, and logits of the prefill and every step, are equal; for odd numbers of frames too."""
    wanted = stock(family, count)
    steps = run(family, [prompt(family, method, count)], method)
    ours, theirs = torch.cat([step.logits for step in steps]), torch.cat(wanted.logits)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    assert [step.tokens[0] for step in steps] == wanted.sequences[0, -len(steps) :].tolist()


COMPRESSED = [
    Dycoke(gate=2.0),
    Dycoke(k=0.5, p=0.8, l=0, gate=2.0, positions="original"),
    Dycoke(k=0.9, p=0.4, l=4),
    Dycoke(k=0.7, p=0.0),
    Uniform(retain=0.4),
]


@pytest.mark.parametrize("method", COMPRESSED, ids=repr)
@pytest.mark.parametrize("count", [7, 16])
def test_both_stages_are_masks_over_the_uncompressed_prompt(family: Family, method: Method, count: int) -> None:
    """Tokens dropped before the prefill lose embedding, positions and DeepStack features; the tokens read at a decode
    step are selected by the attention of the score layer."""
    frames, seconds, duration = clip(count)
    tokens = family.encode(frames)
    kept = method.compress(tokens)
    assert len(kept) < len(tokens)
    steps = run(family, [prompt(family, method, count)], method)
    answer = [step.tokens[0] for step in steps]
    whole = family.prompt_for(tokens, QUESTION, seconds, duration, "original")
    wanted = masked_run(family, whole, kept.index, method, answer)
    torch.testing.assert_close(torch.cat([step.logits for step in steps]), wanted.logits, atol=5e-5, rtol=0)
    assert answer == wanted.logits.argmax(dim=-1).tolist()
    if method.selector(torch.tensor([1])) is not None:
        for step, scores, active in zip(steps[1:], wanted.scores, wanted.active, strict=True):
            torch.testing.assert_close(step.scores[0], scores, atol=1e-5, rtol=0)
            assert read_set(step) == active
    plain = run(family, [prompt(family, Full(), count)], Full())
    assert (plain[0].logits - steps[0].logits).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["full", "dycoke", "fastv", "evs+dynamic", "random+fastv+dynamic", "vidcom2"])
def test_a_batch_answers_as_each_alone(family: Family, name: str) -> None:
    """Three videos of different lengths with different questions give the same steps in a batch as alone."""
    method = make_method(name, {"fastv.l": "1", "dynamic.l": "3"} if "fastv+" in name else {})
    prompts = [
        prompt(family, method, count, question, start)
        for count, question, start in ((6, "colour?", 0), (13, QUESTION, 2), (9, "Please describe the video.", 5))
    ]
    together = run(family, prompts, method)
    for row, single in enumerate(prompts):
        alone = run(family, [single], method)
        for ours, theirs in zip(together, alone, strict=False):
            mine = ours.row(row)
            torch.testing.assert_close(mine.logits, theirs.logits, atol=5e-5, rtol=0)
            assert (mine.tokens, read_set(mine)) == (theirs.tokens, read_set(theirs))


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_pruning_inside_the_prefill_is_a_mask(family: Family, cut: int) -> None:
    """FastV with a cut before, between and after the DeepStack layers equals the mask."""
    method = make_method("fastv", {"l": str(cut), "keep": "0.4"})
    (step,) = run(family, [prompt(family, method, 9)], method, new=1)
    whole = prompt(family, Full(), 9)
    wanted = pruned_logits(family, whole, cut, step.pruned.kept[0])
    torch.testing.assert_close(step.logits[0], wanted, atol=5e-5, rtol=0)
    assert len(step.pruned.kept[0]) < len(whole.visual)


@pytest.mark.parametrize("name", [*METHODS, "vidcom2+dynamic"])
def test_every_method_runs_or_says_why_not(family: Family, name: str) -> None:
    """A method that needs saliency is refused by name for a family without it; all others run."""
    method = make_method(name, {})
    if method.needs_saliency and not family.facts.saliency:
        with pytest.raises(UsageError, match=f"method {name} needs the vision tower's attention"):
            method.check(family.facts)
        return
    method.check(family.facts)
    frames, seconds, duration = clip(9)
    tokens = method.compress(family.encode(frames, saliency=method.needs_saliency))
    made = family.prompt_for(tokens, QUESTION, seconds, duration, method.positions)
    assert len(run(family, [made], method, new=2)) == 2
    if tokens.deepstack is not None:
        assert len(tokens.deepstack) == len(tokens)


def test_runs_leave_nothing_behind(family: Family) -> None:
    """Complete and abandoned runs leave modules and configuration unchanged."""
    method = Dycoke()
    before = {name: traces_on(module) for name, module in family.model.named_modules()}
    config = family.model.config.to_dict()
    single = prompt(family, method, 5)
    run(family, [single], method)
    next(iter(generate(family.language_model, [single], method, Stop(frozenset(), 9), Sampling())))
    assert {name: traces_on(module) for name, module in family.model.named_modules()} == before
    assert family.model.config.to_dict() == config


@pytest.mark.parametrize("together", [12, 30])
def test_a_prefill_in_chunks_is_the_prefill(family: Family, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions and DeepStack features are split with the prompt, in chunks of one row or of several."""
    method = Dycoke()
    prompts = [prompt(family, method, count) for count in (5, 9)]
    wanted = run(family, prompts, method, new=2)
    monkeypatch.setattr(prefill, "TOGETHER", {"cpu": together})
    for ours, whole in zip(run(family, prompts, method, new=2), wanted, strict=True):
        torch.testing.assert_close(ours.logits, whole.logits, atol=5e-5, rtol=0)
        assert ours.tokens == whole.tokens
