"""Triton kernels of a decoder layer between its matrix products, as documented in `engine.operators`.

One token is bound by the number of launches, so each function is one kernel. All arithmetic is in float32, with one
rounding at the end. Tensors (batch, new, width) are read as rows of one stride, as parts of a joined product are;
others are copied first.
"""

import triton
import triton.language as tl
from torch import Tensor

from dycoke_cli.engine.kernels import FUSED
from dycoke_cli.models.layer_weights import Norm

QUERY_HEADS = 8  # per program: a single token occupies several multiprocessors, and a program has work for its threads
COLUMNS = 1024  # per program of the activation: 16 bytes per thread in half precision


def norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise `hidden` (..., width) by its root mean square; weight: (width,). Returns a new tensor."""
    return _normed(_rows(hidden), None, weight, eps).view(hidden.shape)


def add_norm(hidden: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Add `residual` to `hidden` in place, and normalise the rounded sum into a new tensor. Returns both.

    hidden, residual: (batch, new, width); weight: (width,). Raises RuntimeError if the rows of `hidden` have no common
    stride.
    """
    return hidden, _normed(hidden.view(-1, len(weight)), _rows(residual), weight, eps).view(hidden.shape)


def _normed(rows: Tensor, residual: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    count, width = rows.shape
    normed, added = rows.new_empty(count, width), rows if residual is None else residual
    block = triton.next_power_of_2(width)
    _norm[(count,)](
        rows, added, weight, normed, rows.stride(0), added.stride(0), eps,
        WIDTH=width, BLOCK=block, ADD=residual is not None, num_warps=max(1, min(16, block // 512)),
        **FUSED,
    )  # fmt: skip
    return normed


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

    Shapes are those of `operators.rotate_and_store`. The last two axes of `store` are contiguous and its rows follow
    each other without a gap, or RuntimeError is raised. Returns the queries (batch, new, heads, head_dim), contiguous.
    """
    batch, new, head_dim = cos.shape
    heads, kv_heads = query.shape[-1] // head_dim, store.shape[-2]
    out = query.new_empty(batch, new, heads, head_dim)
    keys, values = (half.view(-1, kv_heads * head_dim) for half in store[layer])
    query, key, value, cos, sin = map(_rows, (query, key, value, cos, sin))
    query_norm, key_norm = norms or ((cos, 0.0), (cos, 0.0))
    parts = triton.cdiv(heads, QUERY_HEADS)
    _rotate[(batch * new, parts)](
        query, key, value, cos, sin, *query_norm, *key_norm, keys, values, first, out, new,
        query.stride(0), key.stride(0), value.stride(0), cos.stride(0), sin.stride(0), keys.stride(0),
        HEADS=heads, KV_HEADS=kv_heads, HALF=head_dim // 2, BLOCK=triton.next_power_of_2(head_dim // 2),
        QUERIES=QUERY_HEADS, KEYS=triton.next_power_of_2(triton.cdiv(kv_heads, parts)), NORM=norms is not None,
        **FUSED,
    )  # fmt: skip
    return out


def silu_multiply(gate: Tensor, up: Tensor) -> Tensor:
    """Return silu(gate) * up, contiguous; both (batch, new, intermediate)."""
    out = gate.new_empty(gate.shape)
    gate, up = _rows(gate), _rows(up)
    count, width = gate.shape
    grid = (count, triton.cdiv(width, COLUMNS))
    _silu_multiply[grid](gate, up, out, width, gate.stride(0), up.stride(0), BLOCK=COLUMNS, **FUSED)
    return out


def _rows(values: Tensor) -> Tensor:
    return values.reshape(-1, values.shape[-1])


@triton.jit
def _norm(  # type: ignore[no-untyped-def]
    hidden, residual, weight, normed, hidden_stride, residual_stride, eps,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    """Normalise one row, after adding the residual to it in place."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    real = column < WIDTH
    at = hidden + row * hidden_stride + column
    value = tl.load(at, mask=real, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(residual + row * residual_stride + column, mask=real, other=0.0).to(tl.float32)
        total = value.to(hidden.dtype.element_ty)
        tl.store(at, total, mask=real)
        value = total.to(tl.float32)  # what the next addition reads, rounded
    value *= tl.rsqrt(tl.sum(value * value, axis=0) / WIDTH + eps)
    value *= tl.load(weight + column, mask=real, other=0.0).to(tl.float32)
    tl.store(normed + row * WIDTH + column, value.to(normed.dtype.element_ty), mask=real)


@triton.jit(do_not_specialize=("new",))  # one compilation for prompts of every length and for single tokens
def _rotate(  # type: ignore[no-untyped-def]
    query, key, value, cos, sin, query_weight, query_eps, key_weight, key_eps, keys, values, first, out, new,
    query_stride, key_stride, value_stride, cos_stride, sin_stride, slot_stride,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Rotate and store some of the heads of one token."""
    row = tl.program_id(0) // new
    slot = tl.load(first + row) + tl.program_id(0) % new
    token, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    dim = tl.arange(0, BLOCK)
    c = tl.load(cos + token * cos_stride + dim, mask=dim < HALF, other=0.0).to(tl.float32)
    s = tl.load(sin + token * sin_stride + dim, mask=dim < HALF, other=0.0).to(tl.float32)
    head = part * QUERIES + tl.arange(0, QUERIES)
    target = out + token * HEADS * 2 * HALF
    _rotate_heads(query + token * query_stride, target, query_weight, query_eps, c, s, head, HEADS, HALF, BLOCK, NORM)
    head = part * KEYS + tl.arange(0, KEYS)
    target = keys + slot * slot_stride
    _rotate_heads(key + token * key_stride, target, key_weight, key_eps, c, s, head, KV_HEADS, HALF, BLOCK, NORM)
    dim = tl.arange(0, 2 * BLOCK)
    real = (head < KV_HEADS)[:, None] & (dim < 2 * HALF)[None, :]
    at = head[:, None] * 2 * HALF + dim[None, :]
    copied = tl.load(value + token * value_stride + at, mask=real)
    tl.store(values + slot * slot_stride + at, copied.to(values.dtype.element_ty), mask=real)


@triton.jit
def _rotate_heads(  # type: ignore[no-untyped-def]
    source, target, weight, eps, cos, sin, head,
    HEADS: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Rotate the heads of one token that `head` lists; those from HEADS on do not exist."""
    dim = tl.arange(0, BLOCK)
    real = (head < HEADS)[:, None] & (dim < HALF)[None, :]
    at = head[:, None] * 2 * HALF + dim[None, :]
    x = tl.load(source + at, mask=real, other=0.0).to(tl.float32)
    y = tl.load(source + at + HALF, mask=real, other=0.0).to(tl.float32)
    if NORM:
        scale = tl.rsqrt(tl.sum(x * x + y * y, axis=1) / (2 * HALF) + eps)[:, None]
        x *= scale * tl.load(weight + dim, mask=dim < HALF, other=0.0).to(tl.float32)[None, :]
        y *= scale * tl.load(weight + HALF + dim, mask=dim < HALF, other=0.0).to(tl.float32)[None, :]
    kind = target.dtype.element_ty
    tl.store(target + at, (x * cos[None, :] - y * sin[None, :]).to(kind), mask=real)
    tl.store(target + at + HALF, (y * cos[None, :] + x * sin[None, :]).to(kind), mask=real)


@triton.jit
def _silu_multiply(gate, up, out, width, gate_stride, up_stride, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Compute one block of columns of one row."""
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = column < width
    g = tl.load(gate + row * gate_stride + column, mask=real, other=0.0).to(tl.float32)
    u = tl.load(up + row * up_stride + column, mask=real, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, (g * tl.sigmoid(g) * u).to(out.dtype.element_ty), mask=real)
