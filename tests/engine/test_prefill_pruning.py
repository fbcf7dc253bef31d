"""Dropping tokens inside the prefill equals masking them in all later layers."""

from collections import defaultdict
from typing import Any, NamedTuple

import pytest
import torch

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.generate import Step, Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.fastv import Fastv
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.tokens import Prompt
from tests.conftest import GOLDEN
from tests.engine.test_generate import QUESTIONS, answer, frames, prompt_for, read_set, run, three_prompts, traces_on

NEW = 6
METHODS = [
    make_method("fastv", {}),
    make_method("fastv", {"l": "1", "keep": "0.5"}),
    make_method("fastv", {"l": "7", "keep": "0"}),
    make_method("fastv+dynamic", {"fastv.l": "2", "dynamic.l": "3", "gate": "2"}),
    make_method("fastv+dynamic", {"fastv.l": "2", "dynamic.l": "6", "p": "0.4"}),
    make_method("random+fastv", {"retain": "0.6", "positions": "original", "l": "3"}),
]


def name_of(method: Method) -> str:
    return f"{method.name} {method.options()}"


@pytest.fixture(scope="module")
def eager() -> Llava:
    """A copy of the tiny model with transformers' eager attention."""
    checkpoint = checkpoints.locate(str(GOLDEN / "checkpoints" / "tiny-ov"))
    model = loading.load(checkpoint, torch.device("cpu"), torch.float32)
    model.language_model.body.set_attn_implementation("eager")
    return model


@torch.inference_mode()
def masked_logits(model: Llava, prompt: Prompt, steps: list[Step], method: Method) -> torch.Tensor:
    """Run prompt and answer in one pass of transformers' eager layers, with an explicit mask for every layer.

    Dropped tokens are computed but masked. Returns the logits of each step, (steps, vocabulary).
    """
    language_model, body = model.language_model, model.language_model.body
    given = torch.tensor([answer(steps)[:-1]])
    hidden = torch.cat([prompt.embeds[None], body.embed_tokens(given)], dim=1)
    after = prompt.positions[-1] + 1 + torch.arange(given.shape[1])
    positions = torch.cat([prompt.positions, after])[None]
    rotary = body.rotary_emb(hidden, positions)
    prefill_pruner, selector = method.prefill_pruner(), method.selector(torch.tensor([1]))
    pruned = steps[0].pruned
    assert prefill_pruner is not None
    assert pruned is not None
    causal = torch.ones(hidden.shape[1], hidden.shape[1]).tril().bool()
    for layer in range(language_model.layers):
        readable = causal.clone()
        if layer >= prefill_pruner.layer:
            dropped = torch.ones(len(prompt.visual), dtype=torch.bool).index_fill_(0, pruned.kept[0], False)
            readable[:, prompt.visual[dropped]] = False
        if selector is not None and layer >= selector.prune_from:
            for step in steps[1:]:
                active = pruned.kept[0][sorted(read_set(step) or ())]
                idle = torch.ones(len(prompt.visual), dtype=torch.bool).index_fill_(0, active, False)
                readable[len(prompt) + step.number - 1, prompt.visual[idle]] = False
        mask = torch.zeros(readable.shape).masked_fill(~readable, float("-inf"))[None, None]
        # A dropped token attends to itself, as its softmax would be undefined otherwise. No other token attends to it.
        mask[..., range(len(mask[0, 0])), range(len(mask[0, 0]))] = 0
        hidden = body.layers[layer](
            hidden, attention_mask=mask, position_ids=positions, position_embeddings=rotary
        )  # fmt: skip
    logits: torch.Tensor = language_model.head(body.norm(hidden))[0, len(prompt) - 1 :]
    return logits


@pytest.mark.parametrize("method", METHODS, ids=name_of)
@pytest.mark.parametrize("count", [1, 7])
def test_dropping_is_masking(tiny: Llava, eager: Llava, method: Method, count: int) -> None:
    """Prefill and decode logits equal those of an eager model in which the dropped tokens are masked."""
    prompt = prompt_for(tiny, frames(count), QUESTIONS[0], method)
    steps = run(tiny, [prompt], method, new=NEW)
    wanted = masked_logits(eager, prompt, steps, method)
    torch.testing.assert_close(torch.cat([step.logits for step in steps]), wanted, atol=1e-5, rtol=0)
    if count > 1:  # the comparison is meaningful: pruning changes the logits
        full = run(tiny, [prompt], Full(), new=NEW)
        assert (full[0].logits - steps[0].logits).abs().max() > 1e-3


@pytest.mark.parametrize("layer", [1, 3, 7])
def test_fastv_keeps_what_eager_attention_ranks_first(tiny: Llava, eager: Llava, layer: int) -> None:
    """Ranked by the last prompt token's attention one layer before the cut, mean over heads, over the whole video."""
    method = Fastv(l=layer, keep=0.3)
    prompt = prompt_for(tiny, frames(5), QUESTIONS[0], method)
    with torch.inference_mode():
        body = eager.language_model.body
        weights = body(
            inputs_embeds=prompt.embeds[None], position_ids=prompt.positions[None], output_attentions=True
        ).attentions[layer - 1]
    scores = weights[0, :, -1].mean(0)[prompt.visual]
    (step, *_) = run(tiny, [prompt], method, new=1)
    assert step.pruned is not None
    assert step.pruned.kept[0].tolist() == sorted(scores.topk(round(0.3 * 45)).indices.tolist())


class KeepAll(NamedTuple):
    """A prefill pruner that drops nothing."""

    layer: int

    def choose(self, scores: torch.Tensor) -> torch.Tensor:
        return torch.arange(len(scores))


class NoOp(Method):
    name = "noop"

    def prefill_pruner(self) -> KeepAll:
        return KeepAll(3)


def test_dropping_nothing_is_the_stock_prefill(tiny: Llava) -> None:
    """Running the layers in two parts gives bit-equal logits in the prefill and at each step."""
    prompts = [
        prompt_for(tiny, frames(count), question, Full()) for count, question in zip((3, 5), QUESTIONS, strict=False)
    ]
    for some in (prompts[:1], prompts):
        ours, stock = run(tiny, some, NoOp(), new=NEW), run(tiny, some, Full(), new=NEW)
        assert all(torch.equal(a.logits, b.logits) for a, b in zip(ours, stock, strict=True))
    assert Fastv(keep=1.0).prefill_pruner() is None


@pytest.mark.parametrize("method", METHODS, ids=name_of)
def test_a_batch_prunes_each_row_separately(tiny: Llava, method: Method) -> None:
    """Three videos of different length with different questions have the same tokens, sets and answers as alone."""
    prompts = three_prompts(tiny, method)
    together = run(tiny, prompts, method)
    for row, prompt in enumerate(prompts):
        alone = run(tiny, [prompt], method)
        assert answer(together, row) == answer(alone)
        assert together[0].pruned is not None
        assert alone[0].pruned is not None
        assert torch.equal(together[0].pruned.kept[row], alone[0].pruned.kept[0])
        for ours, single in zip(together, alone, strict=False):
            torch.testing.assert_close(ours.logits[row], single.logits[0], atol=2e-5, rtol=0)
            assert read_set(ours, row) == read_set(single)


def test_dropped_rows_leave_computation_and_cache(tiny: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers from the cut on run on fewer tokens and have a buffer with fewer slots, without unused bytes."""
    lengths: dict[int, list[int]] = defaultdict(list)
    made: list[KVBuffer] = []
    empty = KVBuffer.empty

    def noted(*arguments: Any) -> KVBuffer:
        made.append(empty(*arguments))
        return made[-1]

    whole = Decoder._layer

    def counted(self: Decoder, number: int, weights: Any, hidden: torch.Tensor, *rest: Any) -> Any:
        after, update = whole(self, number, weights, hidden, *rest)
        lengths[number].append(update.shape[1])
        return after, update

    monkeypatch.setattr(KVBuffer, "empty", noted)
    monkeypatch.setattr(Decoder, "_layer", counted)
    method = Fastv(l=3, keep=0.5)
    prompt = prompt_for(tiny, frames(8), QUESTIONS[0], method)
    run(tiny, [prompt], method, new=4)
    left = len(prompt) - 36
    assert dict(lengths) == {layer: [len(prompt) if layer < 3 else left, 1, 1, 1] for layer in range(8)}
    assert [(buffer.layers, buffer.slots) for buffer in made] == [(range(3), len(prompt) + 4), (range(3, 8), left + 4)]
    per_layer = tiny.language_model.kv_bytes_per_token // 8
    assert sum(buffer.nbytes for buffer in made) == per_layer * (3 * (len(prompt) + 4) + 5 * (left + 4))


def test_pruned_prompts_keep_their_gaps() -> None:
    """Slots are renumbered, positions keep gaps, and text stays between the remaining visual tokens."""
    prompt = Prompt(torch.arange(7.0)[:, None], torch.arange(10, 17), torch.tensor([1, 2, 4, 5]), 17, newlines=1)
    left = prompt.only(torch.tensor([1, 3]))
    assert left.embeds[:, 0].tolist() == [0, 2, 3, 5, 6]
    assert left.positions.tolist() == [10, 12, 13, 15, 16]
    assert left.visual.tolist() == [1, 3]


def test_pruned_runs_leave_nothing_behind(tiny: Llava) -> None:
    """Finished and abandoned runs leave the model unchanged and do not influence the next run."""
    method = Fastv(l=2)
    before = {name: traces_on(module) for name, module in tiny.model.named_modules()}
    attention = tiny.language_model.body.config._attn_implementation
    first, second = (prompt_for(tiny, frames(count), QUESTIONS[0], method) for count in (13, 5))
    alone = run(tiny, [second], method)
    next(iter(generate(tiny.language_model, [first], method, Stop(tiny.stop_ids, 9), Sampling())))
    assert torch.equal(run(tiny, [second], method)[-1].logits, alone[-1].logits)
    assert tiny.language_model.body.config._attn_implementation == attention
    assert {name: traces_on(module) for name, module in tiny.model.named_modules()} == before


def test_a_filled_buffer_is_refused(tiny: Llava) -> None:
    """The dropped tokens depend on the question, so a prefill without it cannot be used."""
    prompt = prompt_for(tiny, frames(3), QUESTIONS[0], Fastv(l=2))
    with pytest.raises(ValueError, match="whole prompts"):
        run(tiny, [prompt], Fastv(l=2), buffer=KVBuffer.empty(tiny.language_model, 1, 99))
