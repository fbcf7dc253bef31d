"""The loop: prompts in, steps out. No clock and no print here; whoever iterates may time or show each step."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attached
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decode import DecodePass, ReadingPlan, decode_step
from dycoke_cli.engine.prefill import prefill
from dycoke_cli.engine.sampling import Sampler, Sampling
from dycoke_cli.engine.thinning import Thinned, thinned_prefill
from dycoke_cli.language_model import LanguageModel
from dycoke_cli.methods.protocol import Method, Selection
from dycoke_cli.tokens import Prompt


@dataclass(frozen=True)
class Stop:
    """When an answer ends: at one of the token ids, or after so many tokens."""

    ids: frozenset[int]
    max_new_tokens: int


@dataclass(frozen=True)
class Step:
    """One new token a row. Step 0 comes out of the prefill, each later one out of a decode step."""

    number: int
    tokens: tuple[int | None, ...]  # (batch,); None for rows whose answer has ended
    logits: Tensor  # (batch, vocabulary), what the tokens were drawn from
    selection: Selection | None  # what the pruned layers read; None: every visual token
    scores: Tensor | None  # (batch, tokens) float32, what the selector saw
    thinned: Thinned | None  # what the prefill dropped on the way; selection and scores are then of what it kept


@torch.inference_mode()
def share(model: LanguageModel, prompt: Prompt, slots: int) -> KVBuffer:
    """Prefill what several questions have in common into a buffer of `slots` slots."""
    buffer = KVBuffer.empty(model, 1, slots)
    with attached(model.body):
        prefill(model, buffer, [prompt])
    return buffer


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: list[Prompt],
    method: Method,
    stop: Stop,
    sampling: Sampling,
    buffer: KVBuffer | None = None,
) -> Iterator[Step]:
    """Answer `prompts` side by side, greedily or by sampling.

    `buffer` may hold what came before the prompts, one row each; without it a new one is made. A method that acts
    inside the prefill needs whole prompts and takes none. The steps end when every row has met `stop`.
    """
    room = stop.max_new_tokens
    with attached(model.body):
        logits, buffers, visual, thinned = _fill(model, prompts, method, buffer, room)
        plan = ReadingPlan(visual, buffers[-1].lengths, room, model.device)
        selector = method.selector(plan.counts)
        sampler = Sampler(sampling, len(prompts), model.device)
        positions = torch.tensor([prompt.next_position for prompt in prompts], device=model.device)
        running = [True] * len(prompts)
        current: DecodePass | None = None
        for number in range(room):
            tokens = sampler.pick(logits)
            ids = [token if runs else None for token, runs in zip(tokens.tolist(), running, strict=True)]
            selection, scores = (current.selection, current.scores) if current else (None, None)
            yield Step(number, tuple(ids), logits, selection, scores, thinned)
            running = [token is not None and token not in stop.ids for token in ids]
            if not any(running) or number + 1 == room:
                return
            current = DecodePass(buffers[-1], plan, selector, number + 1)
            others = [DecodePass(other, plan, None, number + 1) for other in buffers[:-1]]
            logits = decode_step(model, [*others, current], tokens, positions + number)


def _fill(
    model: LanguageModel, prompts: list[Prompt], method: Method, buffer: KVBuffer | None, room: int
) -> tuple[Tensor, list[KVBuffer], list[Tensor], Thinned | None]:
    """Prefill the prompts; see `thinned_prefill` for what comes back."""
    thinner = method.thinner()
    if thinner is None:
        buffer = buffer or KVBuffer.empty(model, len(prompts), max(map(len, prompts)) + room)
        return prefill(model, buffer, prompts), [buffer], [prompt.visual for prompt in prompts], None
    if buffer is not None:
        raise ValueError(f"method {method.name} acts inside the prefill: it needs whole prompts, not a filled buffer")
    return thinned_prefill(model, prompts, thinner, room)
