"""Attention over keys and values of a buffer, without repeating the keys that several heads share."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn.attention.bias import causal_lower_right

from dycoke_cli.system.device import upload

QUERIES = 512  # queries per masked call; bounds the size of the mask


def causal_attention(query: Tensor, key: Tensor, value: Tensor, starts: list[int]) -> Tensor:
    """Compute causal attention of new tokens, which follow the `starts[row]` earlier slots of each row.

    query: (batch, new, heads, head_dim); key, value: (batch, kv_heads, max(starts) + new, head_dim). Returns the shape
    of `query`.
    """
    rows, new, read = query.transpose(1, 2), query.shape[1], key.shape[2]
    flash = query.is_cuda and can_use_flash_attention(SDPAParams(rows, key, value, None, 0.0, True, True))
    if new == read and (flash or not query.is_cuda):
        return F.scaled_dot_product_attention(rows, key, value, is_causal=True, enable_gqa=True).transpose(1, 2)
    if flash and len(set(starts)) == 1:
        bias = causal_lower_right(new, read)
        return F.scaled_dot_product_attention(rows, key, value, bias, enable_gqa=True).transpose(1, 2)
    # Other kernels would make the mask of the whole chunk, or with shared keys all its weights.
    before = upload(starts, query.device)[:, None]
    blocks = []
    for first in range(0, new, QUERIES):
        block = query[:, first : first + QUERIES]
        end = max(starts) + first + block.shape[1]
        last = before + first + torch.arange(block.shape[1], device=query.device)
        mask = (torch.arange(end, device=query.device) <= last[:, :, None])[:, None]
        blocks.append(grouped_attention(block, key[:, :, :end], value[:, :, :end], mask))
    return torch.cat(blocks, dim=1)


def grouped_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Compute grouped-query attention: heads that share keys become extra queries.

    query: (batch, new, heads, head_dim); key, value: (batch, kv_heads, read, head_dim); mask: (batch, 1, new or 1,
    read) bool, True for keys to attend to. Returns the shape of `query`.
    """
    batch, new, heads, head_dim = query.shape
    kv_heads = key.shape[1]
    folded = query.transpose(1, 2).reshape(batch, kv_heads, heads // kv_heads * new, head_dim)
    if mask is not None:
        mask = mask.to(query.device)  # the model may be on several devices
        mask = mask.repeat(1, 1, heads // kv_heads, 1) if mask.shape[2] > 1 else mask
    out = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask)
    return out.reshape(batch, heads, new, head_dim).transpose(1, 2)


def attention_row(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Return the newest token's attention over all keys, softmax in float32, mean over the heads.

    query: (batch, 1, heads, head_dim); key: (batch, kv_heads, read, head_dim); mask as in `grouped_attention`.
    Returns (batch, read) float32, rows sum to 1, higher is more attended.
    """
    batch, _, heads, head_dim = query.shape
    kv_heads = key.shape[1]
    folded = query.reshape(batch, kv_heads, heads // kv_heads, head_dim)
    # One product per key head: a batched product would copy the keys, as their heads are interleaved.
    products = [folded[:, head] @ key[:, head].transpose(1, 2) for head in range(kv_heads)]
    logits = torch.stack(products, dim=1).float() * head_dim**-0.5
    if mask is not None:
        logits = logits.masked_fill(~mask.to(query.device), float("-inf"))
    return logits.softmax(dim=-1).mean(dim=(1, 2))
