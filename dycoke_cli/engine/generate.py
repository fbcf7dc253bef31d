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

    `buffer` may hold what came before the prompts, one row each; without it a new one is made. The steps end when
    every row has met `stop`.
    """
    if buffer is None:
        slots = max(map(len, prompts)) + stop.max_new_tokens
        buffer = KVBuffer.empty(model, len(prompts), slots)
    with attached(model.body):
        logits = prefill(model, buffer, prompts)
        visual = [prompt.visual for prompt in prompts]
        plan = ReadingPlan(visual, buffer.lengths, stop.max_new_tokens, model.device)
        selector = method.selector(plan.counts)
        sampler = Sampler(sampling, len(prompts), model.device)
        positions = torch.stack([prompt.positions[-1] for prompt in prompts])
        running = [True] * len(prompts)
        current: DecodePass | None = None
        for number in range(stop.max_new_tokens):
            tokens = sampler.pick(logits)
            ids = [token if runs else None for token, runs in zip(tokens.tolist(), running, strict=True)]
            selection, scores = (current.selection, current.scores) if current else (None, None)
            yield Step(number, tuple(ids), logits, selection, scores)
            running = [token is not None and token not in stop.ids for token in ids]
            if not any(running) or number + 1 == stop.max_new_tokens:
                return
            current = DecodePass(buffer, plan, selector, number + 1)
            logits = decode_step(model, current, tokens, positions + number + 1)
