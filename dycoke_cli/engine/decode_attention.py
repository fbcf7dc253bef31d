"""Attention of a decode step: store the new token, read full or pruned keys, score visual tokens."""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row, grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.kv_pruning import KVPruning, round_up
from dycoke_cli.engine.operators import Operators
from dycoke_cli.methods.protocol import Selection, Selector
from dycoke_cli.system.device import upload


class DecodeAttention:
    """Attention of one new token per row in layers that store the same tokens.

    Layers below `prune_from` read all slots, later ones the selection. With a bucket of 1 exactly the filled slots are
    read; otherwise slots up to the next multiple, with the surplus masked, so that many steps have the same shapes.
    Operators that read the buffer in place have the same shapes at every length.
    """

    def __init__(
        self, buffer: KVBuffer, plan: KVPruning, selector: Selector | None, bucket: int, operators: Operators
    ) -> None:
        self.buffer, self.plan, self.selector, self.bucket, self.operators = buffer, plan, selector, bucket, operators
        self.newest = upload(buffer.lengths, buffer.store.device)  # (batch,) int64, slot of the new token
        self.generated = 1  # generated tokens in the buffer after the step
        self.scores: Tensor | None = None
        self.selection: Selection | None = None
        self.chosen: tuple[Tensor, Tensor | None] | None = None

    @property
    def room(self) -> int:
        """Number of generated tokens that the table of slots has room for."""
        return self.plan.tail.shape[1] - self.plan.text_width

    @property
    def extent(self) -> tuple[int, int]:
        """Number of slots and of generated tokens that this step's shapes have room for."""
        if self.operators.attend is not None:
            return self.buffer.slots, self.room
        end = round_up(max(self.buffer.lengths) + 1, self.bucket)
        return min(end, self.buffer.slots), min(round_up(self.generated, self.bucket), self.room)

    def settle(self) -> None:
        """Set the next step's shapes on the host, so that `begin` depends on no length."""
        self.end, self.until = self.extent
        self.padded = self.bucket > 1 or not self.buffer.even

    def begin(self) -> None:
        """Compute the place of the new token and the mask of filled slots, which are the same for all layers."""
        self.flat = self.newest + self.plan.offset[:, 0]
        self.mask = None
        if self.padded and None in (self.operators.attend, self.operators.attend_and_score):
            self.mask = (torch.arange(self.end, device=self.flat.device) <= self.newest[:, None])[:, None, None]

    def place(self, layer: int) -> tuple[Tensor, int, Tensor]:
        """See `decoder.Attention`."""
        store, index = self.buffer.place(layer)
        return store, index, self.flat.to(store.device)

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """Compute the newest token's attention; in the score layer, also run the selector. See `decoder.Attention`."""
        if self.selector is None or layer != self.selector.score_layer:
            return self._attend(layer, query)
        out, row = self._attend_and_score(layer, query)
        self.scores = self.plan.score(row)
        self.selection = self.selector.select(self.scores)
        flat, counts = self.plan.slots(self.selection, self.until, self.newest)
        if self.operators.attend is not None and counts is not None:
            flat = torch.where(counts[:, 0, 0], flat, -1)
        self.chosen = flat, counts
        return out

    def _attend(self, layer: int, query: Tensor) -> Tensor:
        chosen = self._chosen(layer)
        if self.operators.attend is not None:
            table = None if chosen is None else chosen[0]
            return self.operators.attend(query, self.buffer.of(layer), self.newest, table)
        if chosen is None:
            return grouped_attention(query, *self.buffer.read(layer, self.end), self.mask)
        flat, counts = chosen
        return grouped_attention(query, *self.buffer.gather(layer, flat), counts)

    def _attend_and_score(self, layer: int, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention, and its weights over all slots, (batch, read) float32."""
        if self.operators.attend_and_score is not None:
            return self.operators.attend_and_score(query, self.buffer.of(layer), self.newest)
        keys, _ = self.buffer.read(layer, self.end)
        return self._attend(layer, query), attention_row(query, keys, self.mask)

    def _chosen(self, layer: int) -> tuple[Tensor, Tensor | None] | None:
        """Return the places that a pruned layer reads and their mask; None for a layer that reads all slots."""
        pruned = self.selector is not None and layer >= self.selector.prune_from
        return self.chosen if pruned else None

    def advance(self) -> None:
        """Count the new token on the host, as the step did on the device."""
        self.buffer.lengths = [length + 1 for length in self.buffer.lengths]
        self.generated += 1

    def only(self, rows: list[int], index: Tensor) -> "DecodeAttention":
        """Return the attention of `rows` only; `index` (rows,) int64 is the same on the device."""
        subset = copy(self)
        subset.buffer = self.buffer.only(rows)
        subset.plan = self.plan.only(index)
        subset.newest = self.newest[index]
        subset.selector = self.selector and self.selector.only(index)
        return subset


class SplitAttention:
    """Attention of one new token per row in ranges of layers that store different tokens, one part for each."""

    def __init__(self, parts: Sequence[DecodeAttention]) -> None:
        self.by_layer = {layer: part for part in parts for layer in part.buffer.layers}

    def place(self, layer: int) -> tuple[Tensor, int, Tensor]:
        """See `decoder.Attention`."""
        return self.by_layer[layer].place(layer)

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """See `decoder.Attention`."""
        return self.by_layer[layer].attend(layer, query)
