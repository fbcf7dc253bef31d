"""Attention passes of a decode step: store the new token, read full or pruned keys, score visual tokens."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row, grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.kv_pruning import KVPruning, round_up
from dycoke_cli.methods.protocol import Selection, Selector

# The type of `kernel.attend_in_place`, which needs Triton to import.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


class DecodePass:
    """The pass of one new token per row through layers that store the same tokens.

    Layers below `prune_from` read all slots, later ones the selection. With a bucket of 1 exactly the filled slots are
    read; otherwise slots up to the next multiple, with the surplus masked, so that many steps have the same shapes.

    kernel: attention without mask or copy, if available; it reads lengths on the device, so that all steps of a run
    have the same shapes.
    """

    def __init__(
        self,
        buffer: KVBuffer,
        plan: KVPruning,
        selector: Selector | None,
        bucket: int,
        kernel: Kernel | None = None,
    ) -> None:
        self.buffer, self.plan, self.selector, self.bucket, self.kernel = buffer, plan, selector, bucket, kernel
        device = buffer.store.device
        self.newest = torch.tensor(buffer.lengths, device=device)  # (batch,) int64, slot of the new token
        self.generated = 1  # generated tokens in the buffer after the step
        self.scores: Tensor | None = None
        self.selection: Selection | None = None
        self.chosen: tuple[Tensor, Tensor | None] | None = None

    @property
    def extent(self) -> tuple[int, int]:
        """Number of slots and of generated tokens that this step's shapes have room for."""
        room = self.plan.tail.shape[1] - self.plan.text_width
        if self.kernel is not None:
            return self.buffer.slots, room
        end = round_up(max(self.buffer.lengths) + 1, self.bucket)
        return min(end, self.buffer.slots), min(round_up(self.generated, self.bucket), room)

    def settle(self) -> None:
        """Set the next step's shapes on the host, so that `begin` depends on no length."""
        self.end, self.until = self.extent
        self.padded = self.bucket > 1 or not self.buffer.even

    def begin(self) -> None:
        """Compute the place of the new token and the mask of filled slots, which are the same for all layers."""
        self.flat = self.newest + self.plan.offset[:, 0]
        self.mask = None
        if self.padded:
            self.mask = (torch.arange(self.end, device=self.flat.device) <= self.newest[:, None])[:, None, None]

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Store the new keys and values and return those that this layer reads; see `Pass.update`."""
        self.buffer.put(layer, key, value, self.flat)
        chosen = self._chosen(layer)
        if chosen is None or self.kernel is not None:
            return self.buffer.read(layer, self.end)
        return self.buffer.gather(layer, chosen[0])

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Compute the newest token's attention; in the score layer, run the selector. See `Pass.attend`."""
        layer = module.layer_idx
        chosen = self._chosen(layer)
        mask = self.mask if chosen is None else chosen[1]
        if self.kernel is None:
            out = grouped_attention(query, key, value, scaling, mask)
        else:
            store = self.buffer.of(layer)
            out = self.kernel(query, store, self.newest, None if chosen is None else chosen[0], scaling)
        if self.selector is not None and layer == self.selector.score_layer:
            self.scores = self.plan.score(attention_row(query, key, scaling, mask))
            self.selection = self.selector.select(self.scores)
            flat, counts = self.plan.slots(self.selection, self.until, self.newest)
            if self.kernel is not None and counts is not None:
                flat = torch.where(counts[:, 0, 0], flat, -1)
            self.chosen = flat, counts
        return out

    def _chosen(self, layer: int) -> tuple[Tensor, Tensor | None] | None:
        """Return the places that a pruned layer reads and their mask; None for a layer that reads all slots."""
        pruned = self.selector is not None and layer >= self.selector.prune_from
        return self.chosen if pruned else None

    def advance(self) -> None:
        """Count the new token on the host, as the step did on the device."""
        self.buffer.lengths = [length + 1 for length in self.buffer.lengths]
        self.generated += 1

    def only(self, rows: list[int], index: Tensor) -> "DecodePass":
        """Return the pass for `rows` only; `index` (rows,) int64 is the same on the device."""
        subset = copy(self)
        subset.buffer = self.buffer.only(rows)
        subset.plan = self.plan.only(index)
        subset.newest = self.newest[index]
        subset.selector = self.selector and self.selector.only(index)
        return subset

    def get_seq_length(self, layer: int = 0) -> int:
        """Return the filled length; part of the cache interface of transformers."""
        return max(self.buffer.lengths)


class SplitPass:
    """The pass of one new token per row through ranges of layers that store different tokens, one part for each."""

    def __init__(self, parts: Sequence[DecodePass]) -> None:
        self.by_layer = {layer: part for part in parts for layer in part.buffer.layers}

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """See `Pass.update`."""
        return self.by_layer[layer].update(key, value, layer)

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See `Pass.attend`."""
        return self.by_layer[module.layer_idx].attend(module, query, key, value, scaling)

    def get_seq_length(self, layer: int = 0) -> int:
        """Return the filled length; part of the cache interface of transformers."""
        return self.by_layer[layer].get_seq_length()
