"""The attention function that the stock text model uses during a run, and its grouped-query implementation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

NAME = "dycoke_sdpa"


class Pass(Protocol):
    """One forward pass of the text model: it replaces the cache of transformers and computes every attention."""

    def update(self, key: Tensor, value: Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store new keys and values (batch, kv_heads, new, head_dim) and return those that the layer reads."""
        ...

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Compute attention of `query` (batch, heads, new, head_dim). Returns (batch, new, heads, head_dim)."""
        ...


@contextmanager
def attached(text_model: Any) -> Iterator[None]:
    """Make `text_model` use this attention inside the block; restore its own afterwards."""
    # Registering is idempotent and changes no model. No mask function is registered: transformers then builds no mask,
    # and the passes build their own.
    AttentionInterface.register(NAME, _forward)
    before = text_model.config._attn_implementation
    text_model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        text_model.set_attn_implementation(before)


def _forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, **kwargs: Any
) -> tuple[Tensor, None]:
    current: Pass = kwargs["dycoke"]
    return current.attend(module, query, key, value, kwargs["scaling"]), None


def grouped_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: Tensor | None) -> Tensor:
    """Compute grouped-query attention without repeating keys: heads that share keys become extra queries.

    query: (batch, heads, new, head_dim); key, value: (batch, kv_heads, read, head_dim);
    mask: (batch, 1, new or 1, read) bool, True for keys to attend to. Returns (batch, new, heads, head_dim).
    """
    batch, heads, new, head_dim = query.shape
    kv_heads = key.shape[1]
    folded = query.reshape(batch, kv_heads, heads // kv_heads * new, head_dim)
    if mask is not None:
        mask = mask.to(query.device)  # the model may be on several devices
        mask = mask.repeat(1, 1, heads // kv_heads, 1) if mask.shape[2] > 1 else mask
    out = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    return out.reshape(batch, heads, new, head_dim).transpose(1, 2)


def attention_row(query: Tensor, key: Tensor, scaling: float, mask: Tensor | None) -> Tensor:
    """Return the newest token's attention over all keys, softmax in float32, mean over the heads.

    query: (batch, heads, 1, head_dim); key: (batch, kv_heads, read, head_dim); mask as in `grouped_attention`.
    Returns (batch, read) float32, rows sum to 1, higher is more attended.
    """
    batch, heads, _, head_dim = query.shape
    kv_heads = key.shape[1]
    folded = query.reshape(batch, kv_heads, heads // kv_heads, head_dim)
    # One product per key head: a batched product would copy the keys, as their heads are interleaved.
    products = [folded[:, head] @ key[:, head].transpose(1, 2) for head in range(kv_heads)]
    logits = torch.stack(products, dim=1).float() * scaling
    if mask is not None:
        logits = logits.masked_fill(~mask.to(query.device), float("-inf"))
    return logits.softmax(dim=-1).mean(dim=(1, 2))
