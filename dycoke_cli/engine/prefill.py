"""Prompts go in, side by side; each row's next-token logits come out."""

from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from dycoke_cli.engine.attention import grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.deepstack import stock_arguments
from dycoke_cli.language_model import LanguageModel
from dycoke_cli.tokens import Prompt


class PrefillPass:
    """A pass that appends prompts to the buffer; each position reads what is before it.

    Shorter prompts are padded at the end: causality alone keeps real positions from seeing the padding, so a
    batch needs no mask and a single prompt runs exactly as the stock model does.
    """

    def __init__(self, buffer: KVBuffer, new: int) -> None:
        self.buffer = buffer
        self.starts = list(buffer.lengths)
        self.mask = self._mask(new) if any(self.starts) else None

    def _mask(self, new: int) -> Tensor:
        end = max(self.starts) + new
        device = self.buffer.store.device
        last = torch.tensor(self.starts, device=device)[:, None] + torch.arange(new, device=device)
        return (torch.arange(end, device=device) <= last[:, :, None])[:, None]

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Store the new keys and values; see `Pass.update`."""
        self.buffer.write(layer, key, value, self.starts)
        if self.mask is None:
            return key, value
        return self.buffer.read(layer, self.mask.shape[-1])

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend causally; see `Pass.attend`."""
        if self.mask is None:
            out: Tensor = sdpa_attention_forward(module, query, key, value, None, scaling=scaling)[0]
            return out
        return grouped_attention(query, key, value, scaling, self.mask)

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the cache interface of transformers."""
        return max(self.starts)


def prefill(model: LanguageModel, buffer: KVBuffer, prompts: list[Prompt]) -> Tensor:
    """Append one prompt to each row of `buffer` and return the logits of each one's last position.

    Works on an empty buffer and after earlier prompts alike. Returns (batch, vocabulary) in the model's dtype.
    """
    embeds, positions = stack_prompts(prompts)
    current = PrefillPass(buffer, embeds.shape[1])
    hidden = model.body(
        inputs_embeds=embeds,
        position_ids=positions,
        past_key_values=current,
        use_cache=True,
        dycoke=current,
        **stock_arguments(prompts, embeds.shape[1]),
    ).last_hidden_state
    buffer.lengths = [start + len(prompt) for start, prompt in zip(current.starts, prompts, strict=True)]
    logits: Tensor = model.head(last_rows(hidden, prompts))[:, 0]
    return logits


def stack_prompts(prompts: list[Prompt]) -> tuple[Tensor, Tensor]:
    """Lay prompts side by side, shorter ones padded at the end.

    Returns embeds (batch, new, hidden) and positions as transformers takes them: (batch, new), or (3, batch, new).
    """
    new = max(map(len, prompts))
    embeds = torch.stack([_pad(prompt.embeds, new) for prompt in prompts])
    positions = torch.stack([_pad(prompt.positions, new) for prompt in prompts])
    return embeds, positions if positions.dim() == 2 else positions.movedim(-1, 0)


def last_rows(hidden: Tensor, prompts: list[Prompt]) -> Tensor:
    """Take each prompt's last position out of (batch, new, hidden): (batch, 1, hidden)."""
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=hidden.device)
    return hidden[torch.arange(len(prompts), device=hidden.device), last][:, None]


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Repeat the last entry of (n, ...) up to `length`; repeats stay finite, which zeros in all layers need not."""
    return (
        tensor
        if len(tensor) == length
        else torch.cat([tensor, tensor[-1:].expand(length - len(tensor), *tensor.shape[1:])])
    )
