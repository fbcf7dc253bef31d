"""Triton attention of one new token per row, reading only the selected slots of the buffer in place.

It is imported only with CUDA. The number of slots is a value on the device, so that a captured step needs no mask and
is valid for every length. Each row's slots are split among many programs, because one token has too few heads to occupy
a GPU; a second kernel combines the parts (as in flash-decoding; Dao et al., 2023).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from dycoke_cli.engine.kernels import FUSED

BLOCK_BYTES = 16 * 2**10  # keys per block; two blocks of keys and of values fit the shared memory of any device
PROGRAMS = 512  # programs to launch: a few for each multiprocessor of a large device
LEAST_QUERIES = 16  # rows of the smallest matrix product on tensor cores


def attend_in_place(query: Tensor, store: Tensor, newest: Tensor, table: Tensor | None) -> Tensor:
    """Compute attention of the newest token of each row. Returns the shape of `query`.

    query: (batch, 1, heads, head_dim); store: (2, batch, slots, kv_heads, head_dim), keys and values of one layer;
    newest: (batch,) int64, the last filled slot; table: (batch, chosen) int64, row * slots + slot of the slots to read
    instead of all, -1 for padding. head_dim is a power of two, at least 16. Softmax and sums in float32.
    """
    return _attend(query.contiguous(), store, newest, table)[0]


def attend_and_score(query: Tensor, store: Tensor, newest: Tensor) -> tuple[Tensor, Tensor]:
    """Compute attention as `attend_in_place` does without a table, and its weights averaged over the query heads.

    Returns the attention (batch, 1, heads, head_dim) and the weights (batch, slots) float32, 0 after `newest`.
    """
    query = query.contiguous()
    out, log_totals = _attend(query, store, newest, None)
    batch, slots, _, head_dim = store.shape[1:]
    row = torch.empty(batch, slots, dtype=torch.float32, device=query.device)
    sizes = _sizes(query, store)
    _score[(batch, triton.cdiv(slots, sizes["BLOCK"]))](
        query, store[0], newest, log_totals, row, slots, head_dim**-0.5, store.stride(2), store.stride(3),
        **sizes, num_stages=2, **FUSED,
    )  # fmt: skip
    return out, row


def _attend(query: Tensor, store: Tensor, newest: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the attention, and the logarithm of each softmax's denominator, (batch, heads) float32."""
    batch, _, heads, head_dim = query.shape
    slots, kv_heads = store.shape[2:4]
    splits = triton.next_power_of_2(max(1, min(64, PROGRAMS // (batch * kv_heads))))
    mixed = torch.empty(batch, heads, splits, head_dim, dtype=torch.float32, device=query.device)
    peaks, totals = (torch.empty(batch, heads, splits, dtype=torch.float32, device=query.device) for _ in range(2))
    _read[(batch, kv_heads, splits)](
        query, store[0], store[1], newest, newest if table is None else table, mixed, peaks, totals,
        slots, 0 if table is None else table.shape[1], head_dim**-0.5, store.stride(2), store.stride(3),
        **_sizes(query, store), SPLITS=splits, CHOSEN=table is not None, num_stages=2, **FUSED,
    )  # fmt: skip
    out, log_totals = torch.empty_like(query), torch.empty(batch, heads, dtype=torch.float32, device=query.device)
    _combine[(batch * heads,)](mixed, peaks, totals, out, log_totals, WIDTH=head_dim, SPLITS=splits, **FUSED)
    return out, log_totals


def _sizes(query: Tensor, store: Tensor) -> dict[str, int]:
    """Return the constants of the kernels that read blocks of keys."""
    kv_heads, head_dim = store.shape[3:]
    group = query.shape[2] // kv_heads
    queries = max(LEAST_QUERIES, triton.next_power_of_2(group))
    block = max(16, min(64, BLOCK_BYTES // (head_dim * store.element_size())))
    return {"KV_HEADS": kv_heads, "GROUP": group, "QUERIES": queries, "WIDTH": head_dim, "BLOCK": block}


@triton.jit
def _read(  # type: ignore[no-untyped-def]
    query, keys, values, newest, table, mixed, peaks, totals,
    slots, chosen, scaling, place_stride, head_stride,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, QUERIES: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr, SPLITS: tl.constexpr, CHOSEN: tl.constexpr,
):  # fmt: skip
    """Compute attention over one split of one row's slots, for the query heads that share one key head."""
    row, kv_head, split = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    member, dim = tl.arange(0, QUERIES), tl.arange(0, WIDTH)
    head = row * KV_HEADS * GROUP + kv_head * GROUP + member
    real = member < GROUP
    q = tl.load(query + head[:, None] * WIDTH + dim[None, :], mask=real[:, None], other=0.0)
    length = chosen
    if not CHOSEN:
        length = (tl.load(newest + row) + 1).to(tl.int32)
    span = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK) * BLOCK
    first = split * span
    last = tl.minimum(first + span, length)
    peak = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    mix = tl.zeros([QUERIES, WIDTH], tl.float32)
    for start in range(first, last, BLOCK):
        slot = start + tl.arange(0, BLOCK)
        if CHOSEN:
            place = tl.load(table + row * chosen + slot, mask=slot < last, other=-1)
        else:
            place = tl.where(slot < last, row * slots + slot, -1)
        counts = place >= 0
        at = place * place_stride + kv_head * head_stride
        k = tl.load(keys + at[None, :] + dim[:, None], mask=counts[None, :], other=0.0)
        logits = tl.dot(q, k, input_precision="ieee") * scaling
        logits = tl.where(counts[None, :], logits, float("-inf"))
        higher = tl.maximum(peak, tl.max(logits, axis=1))
        safe = tl.where(higher == float("-inf"), 0.0, higher)  # no slot read yet
        weight = tl.exp(logits - safe[:, None])
        shrink = tl.exp(peak - safe)
        v = tl.load(values + at[:, None] + dim[None, :], mask=counts[:, None], other=0.0)
        mix = mix * shrink[:, None] + tl.dot(weight.to(v.dtype), v, input_precision="ieee")
        total = total * shrink + tl.sum(weight, axis=1)
        peak = higher
    part = head * SPLITS + split
    tl.store(peaks + part, peak, mask=real)
    tl.store(totals + part, total, mask=real)
    tl.store(mixed + part[:, None] * WIDTH + dim[None, :], mix, mask=real[:, None])


@triton.jit
def _combine(mixed, peaks, totals, out, log_totals, WIDTH: tl.constexpr, SPLITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Combine the splits of one head of one row; a split without slots has weight 0."""
    head = tl.program_id(0).to(tl.int64)
    split, dim = tl.arange(0, SPLITS), tl.arange(0, WIDTH)
    part = head * SPLITS + split
    peak = tl.load(peaks + part)
    highest = tl.max(peak, axis=0)
    weight = tl.exp(peak - highest)
    total = tl.sum(tl.load(totals + part) * weight, axis=0)
    mix = tl.load(mixed + part[:, None] * WIDTH + dim[None, :])
    value = tl.sum(mix * weight[:, None], axis=0) / total
    tl.store(out + head * WIDTH + dim, value.to(out.dtype.element_ty))
    tl.store(log_totals + head, highest + tl.log(total))


@triton.jit
def _score(  # type: ignore[no-untyped-def]
    query, keys, newest, log_totals, out, slots, scaling, place_stride, head_stride,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, QUERIES: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Average the softmax weights of one block of one row's slots over all query heads."""
    row, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK
    slot, member, dim = first + tl.arange(0, BLOCK), tl.arange(0, QUERIES), tl.arange(0, WIDTH)
    last = tl.load(newest + row)
    counts, real = slot <= last, member < GROUP
    score = tl.zeros([BLOCK], tl.float32)
    if first <= last:
        for kv_head in range(KV_HEADS):
            head = (row * KV_HEADS + kv_head) * GROUP + member
            q = tl.load(query + head[:, None] * WIDTH + dim[None, :], mask=real[:, None], other=0.0)
            at = (row * slots + slot) * place_stride + kv_head * head_stride
            k = tl.load(keys + at[None, :] + dim[:, None], mask=counts[None, :], other=0.0)
            logits = tl.dot(q, k, input_precision="ieee") * scaling
            weight = tl.exp(logits - tl.load(log_totals + head, mask=real, other=0.0)[:, None])
            score += tl.sum(tl.where(real[:, None], weight, 0.0), axis=0)
    score = tl.where(counts, score / (KV_HEADS * GROUP), 0.0)
    tl.store(out + row * slots + slot, score, mask=slot < slots)
