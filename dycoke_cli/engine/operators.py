"""The operations of a decoder layer between its matrix products: in PyTorch, and the set of those that a run uses."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.models.layer_weights import Norm

# The types of `kernels.attention.attend_in_place` and `attend_and_score`, which need Triton to import.
Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
AttendAndScore = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise `hidden` (..., width) by its root mean square (RMSNorm), in float32 with one rounding."""
    return F.rms_norm(hidden, weight.shape, weight, eps)


def add_norm(hidden: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Add `hidden` to the residual stream, and normalise the sum.

    hidden: (batch, new, width), contiguous, may be overwritten; residual: of that shape, stays unchanged. Returns the
    sum, and the sum normalised as by `norm`.
    """
    total = residual + hidden
    return total, norm(total, weight, eps)


def rotate_and_store(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cos: Tensor,
    sin: Tensor,
    norms: tuple[Norm, Norm] | None,
    store: Tensor,
    layer: int,
    first: Tensor,
) -> Tensor:
    """Rotate queries and keys by their positions, and write keys and values of new tokens into the buffer.

    query: (batch, new, heads * head_dim); key, value: (batch, new, kv_heads * head_dim); their last axis is contiguous.
    cos, sin: (batch, new, head_dim), both halves of the last axis equal. norms: of queries and keys, over each head,
    before the rotation; None: without. store: (layers, 2, batch, slots, kv_heads, head_dim), see `KVBuffer`; layer: the
    index in it. first: (batch,) int64, row * slots + slot of each row's first new token. Returns the rotated queries
    (batch, new, heads, head_dim).
    """
    head_dim = cos.shape[-1]
    query, key, value = (each.unflatten(-1, (-1, head_dim)) for each in (query, key, value))
    if norms is not None:
        query, key = (norm(each, *own) for each, own in zip((query, key), norms, strict=True))
    cos, sin = (each[:, :, None, : head_dim // 2] for each in (cos, sin))
    # torch.compile would functionalize the in-place write and copy the whole store for each layer.
    write = torch.ops.dycoke.write_tokens if torch.compiler.is_compiling() else write_tokens
    write(store, layer, rotated(key, cos, sin), value, first)
    return rotated(query, cos, sin)


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each head of (batch, new, heads, head_dim); cos, sin: (batch, new, 1, head_dim / 2)."""
    half, other = heads.chunk(2, dim=-1)
    return torch.cat((half * cos - other * sin, other * cos + half * sin), dim=-1)


def write_tokens(store: Tensor, layer: int, key: Tensor, value: Tensor, first: Tensor) -> None:
    """Write new tokens' keys and values (batch, new, kv_heads, head_dim) into a layer; see `rotate_and_store`.

    The argument is the whole store, as inductor miscompiles an operator that writes into a view of it: the next step
    does not read the written values (observed with torch 2.15 on a CPU).
    """
    places = (first[:, None] + torch.arange(key.shape[1], device=first.device)).flatten()
    for half, new in zip(store[layer], (key, value), strict=True):
        half.flatten(0, 1).index_copy_(0, places, new.flatten(0, 1))


def silu_multiply(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up, both (batch, new, intermediate), the last axis contiguous; `gate` may be overwritten."""
    return F.silu(gate, inplace=True) * up


@dataclass(frozen=True)
class Operators:
    """The operations of a run; those of PyTorch unless another set replaces them.

    attend, attend_and_score: attention of one new token per row that reads the buffer in place, with lengths on the
    device, so that all steps of a run have the same shapes; None: keys and values are copied and masked.
    """

    norm: Callable[[Tensor, Tensor, float], Tensor] = norm
    add_norm: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]] = add_norm
    rotate_and_store: Callable[..., Tensor] = rotate_and_store
    silu_multiply: Callable[[Tensor, Tensor], Tensor] = silu_multiply
    attend: Attend | None = None
    attend_and_score: AttendAndScore | None = None
