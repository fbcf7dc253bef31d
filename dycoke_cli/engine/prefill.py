"""Prefill: append prompts to the buffer as a padded batch and return each row's next-token logits."""

from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from dycoke_cli.engine.attention import grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.deepstack import stock_arguments
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.tokens import Prompt

# Positions per forward pass, over all rows: enough to occupy the device, few enough that a layer's intermediate values
# are small compared with the weights.
TOGETHER = {"cpu": 4096, "cuda": 8192}
QUERIES = 512  # queries per attention call after the first chunk; bounds the size of the mask


class PrefillPass:
    """A pass that appends prompts to the buffer with causal attention.

    Shorter prompts are padded at the end. Causality alone prevents attention to the padding, so a batch needs no mask,
    and a single prompt runs exactly as in the stock model.
    """

    def __init__(self, buffer: KVBuffer, new: int) -> None:
        self.buffer, self.new = buffer, new
        self.starts = list(buffer.lengths)
        self.follows = any(self.starts)

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Store the new keys and values; see `Pass.update`."""
        self.buffer.write(layer, key, value, self.starts)
        return self.buffer.read(layer, max(self.starts) + self.new) if self.follows else (key, value)

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Compute causal attention; see `Pass.attend`."""
        if not self.follows:
            out: Tensor = sdpa_attention_forward(module, query, key, value, None, scaling=scaling)[0]
            return out
        device = query.device
        starts = torch.tensor(self.starts, device=device)[:, None]
        blocks = []
        for first in range(0, self.new, QUERIES):
            queries = query[:, :, first : first + QUERIES]
            end = max(self.starts) + first + queries.shape[2]
            last = starts + first + torch.arange(queries.shape[2], device=device)
            mask = (torch.arange(end, device=device) <= last[:, :, None])[:, None]
            blocks.append(grouped_attention(queries, key[:, :, :end], value[:, :, :end], scaling, mask))
        return torch.cat(blocks, dim=1)

    def get_seq_length(self, layer: int = 0) -> int:
        """Return the filled length; part of the cache interface of transformers."""
        return max(self.starts)


def prefill(model: LanguageModel, buffer: KVBuffer, prompts: list[Prompt]) -> Tensor:
    """Append one prompt to each row of `buffer`. Return the logits of the last positions, (batch, vocabulary).

    The buffer may be empty or contain earlier prompts. Rows run in groups of at most TOGETHER positions, and a longer
    row in chunks; the grouping does not change the result. Logits have the model's dtype.
    """
    together, logits, row = TOGETHER[model.device.type], [], 0
    while row < len(prompts):
        count = _group_size(prompts[row:], together)
        logits.append(_append(model, buffer, prompts[row : row + count], row, together))
        row += count
    return logits[0] if len(logits) == 1 else torch.cat(logits)


def _group_size(prompts: list[Prompt], together: int) -> int:
    """Return how many prompts, padded to the longest, run in one pass of `together` positions; at least 1."""
    longest = 0
    for count, prompt in enumerate(prompts):
        longest = max(longest, len(prompt))
        if count and longest * (count + 1) > together:
            return count
    return len(prompts)


def _append(model: LanguageModel, buffer: KVBuffer, prompts: list[Prompt], row: int, together: int) -> Tensor:
    """Run prompts for the rows from `row` on, in chunks. Return the logits of their last positions."""
    part = buffer.part(row, row + len(prompts))
    embeds, positions = stack_prompts(prompts)
    step = max(1, together // len(prompts))
    for first in range(0, embeds.shape[1], step):
        chunk = embeds[:, first : first + step]
        current = PrefillPass(part, chunk.shape[1])
        hidden = model.body(
            inputs_embeds=chunk,
            position_ids=positions[..., first : first + step],
            use_cache=True,
            dycoke=current,
            **{model.cache_argument: current},
            **stock_arguments(prompts, range(first, first + chunk.shape[1])),
        ).last_hidden_state
        part.lengths = [start + chunk.shape[1] for start in current.starts]
    before = buffer.lengths[row : row + len(prompts)]
    buffer.lengths[row : row + len(prompts)] = [
        length + len(prompt) for length, prompt in zip(before, prompts, strict=True)
    ]
    # Several prompts run as one chunk; the last chunk of a single prompt contains its end.
    ends = [len(prompt) - 1 - first for prompt in prompts]
    logits: Tensor = model.head(at_rows(hidden, ends))[:, 0]
    return logits.to(model.device)


def stack_prompts(prompts: list[Prompt]) -> tuple[Tensor, Tensor]:
    """Stack prompts into a batch, shorter ones padded at the end.

    Returns embeds (batch, new, hidden) and positions in the layout of transformers: (batch, new), or (3, batch, new).
    """
    new = max(map(len, prompts))
    embeds = torch.stack([_pad(prompt.embeds, new) for prompt in prompts])
    positions = torch.stack([_pad(prompt.positions, new) for prompt in prompts])
    return embeds, positions if positions.dim() == 2 else positions.movedim(-1, 0)


def at_rows(hidden: Tensor, places: list[int]) -> Tensor:
    """Select one position of each row of (batch, new, hidden): (batch, 1, hidden)."""
    index = torch.tensor(places, device=hidden.device)
    return hidden[torch.arange(len(places), device=hidden.device), index][:, None]


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Repeat the last entry of (n, ...) up to `length`: repeats are finite in all layers, zeros may not be."""
    return (
        tensor
        if len(tensor) == length
        else torch.cat([tensor, tensor[-1:].expand(length - len(tensor), *tensor.shape[1:])])
    )
