"""Prefill: append prompts to the buffer as a padded batch and return each row's next-token logits."""

import torch
from torch import Tensor

from dycoke_cli.engine.attention import causal_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.deepstack import DeepStack
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.system.device import upload
from dycoke_cli.system.free_memory import free_bytes
from dycoke_cli.tokens import Prompt

# Positions that run together, over all rows, at most: enough to occupy the device, few enough that a layer's values are
# small compared with the weights. On CUDA also at most as many as SHARE_OF_FREE of the free memory holds, but LEAST.
TOGETHER = {"cpu": 4096, "cuda": 16384}
SHARE_OF_FREE, LEAST = 0.25, 2048


class PrefillAttention:
    """Causal attention of prompts that are appended to the buffer.

    Shorter prompts are padded at the end. Causality alone prevents attention to the padding, so a batch needs no mask.
    """

    def __init__(self, buffer: KVBuffer, new: int) -> None:
        self.buffer, self.new = buffer, new
        self.starts = list(buffer.lengths)
        slots = [row * buffer.slots + start for row, start in enumerate(self.starts)]
        self.first = upload(slots, buffer.store.device)

    def place(self, layer: int) -> tuple[Tensor, int, Tensor]:
        """See `decoder.Attention`."""
        store, index = self.buffer.place(layer)
        return store, index, self.first.to(store.device)

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """See `decoder.Attention`."""
        return causal_attention(query, *self.buffer.read(layer, max(self.starts) + self.new), self.starts)


def prefill(decoder: Decoder, buffer: KVBuffer, prompts: list[Prompt]) -> Tensor:
    """Append one prompt to each row of `buffer`. Return the logits of the last positions, (batch, vocabulary).

    The buffer may be empty or contain earlier prompts. Rows run in groups of at most so many positions as run together,
    and a longer row in chunks; the grouping does not change the result. Logits have the model's dtype.
    """
    together, logits, row = positions_together(decoder.model), [], 0
    while row < len(prompts):
        count = _group_size(prompts[row:], together)
        logits.append(_append(decoder, buffer, prompts[row : row + count], row, together))
        row += count
    return logits[0] if len(logits) == 1 else torch.cat(logits)


def positions_together(model: LanguageModel) -> int:
    """Return how many positions of `model` run together, over all rows."""
    most = TOGETHER[model.device.type]
    if model.device.type != "cuda":
        return most
    each = model.shape.activations_per_position * model.dtype.itemsize
    return min(most, max(LEAST, int(SHARE_OF_FREE * free_bytes(model.device)) // each))


def _group_size(prompts: list[Prompt], together: int) -> int:
    """Return how many prompts, padded to the longest, run in one pass of `together` positions; at least 1."""
    longest = 0
    for count, prompt in enumerate(prompts):
        longest = max(longest, len(prompt))
        if count and longest * (count + 1) > together:
            return count
    return len(prompts)


def _append(decoder: Decoder, buffer: KVBuffer, prompts: list[Prompt], row: int, together: int) -> Tensor:
    """Run prompts for the rows from `row` on, in chunks. Return the logits of their last positions."""
    part = buffer.part(row, row + len(prompts))
    before = part.lengths
    embeds, positions = stack_prompts(prompts)
    step = max(1, together // len(prompts))
    for first in range(0, embeds.shape[1], step):
        chunk = embeds[:, first : first + step]
        features = DeepStack.of(prompts, range(first, first + chunk.shape[1]))
        attention = PrefillAttention(part, chunk.shape[1])
        hidden = decoder.run(chunk, positions[..., first : first + step], attention, after_layer=features)
        part.lengths = [start + chunk.shape[1] for start in attention.starts]
    buffer.lengths[row : row + len(prompts)] = [
        length + len(prompt) for length, prompt in zip(before, prompts, strict=True)
    ]
    # Several prompts run as one chunk; the last chunk of a single prompt contains its end.
    return decoder.logits(at_rows(hidden, [len(prompt) - 1 - first for prompt in prompts]))[:, 0]


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
    return hidden[torch.arange(len(places), device=hidden.device), upload(places, hidden.device)][:, None]


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Repeat the last entry of (n, ...) up to `length`: repeats are finite in all layers, zeros may not be."""
    return (
        tensor
        if len(tensor) == length
        else torch.cat([tensor, tensor[-1:].expand(length - len(tensor), *tensor.shape[1:])])
    )
