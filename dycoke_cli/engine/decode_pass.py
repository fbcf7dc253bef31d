"""How one new token a row goes through the layers: where it is stored, what each layer reads, where it is scored."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row, grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.kv_pruning import KVPruning, round_up
from dycoke_cli.methods.protocol import Selection, Selector

# What `kernel.attend_in_place` does.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


class DecodePass:
    """One new token a row through layers that store the same tokens.

    Below `prune_from` layers read all slots, from there on the selection. With a bucket of 1 exactly the filled slots
    are read; otherwise up to the next multiple, the surplus masked, so that many steps have the same shapes.

    kernel: attends without mask or copy, where there is one; it sees on the device what counts, so that all steps of a
    run have the same shapes.
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
        self.newest = torch.tensor(buffer.lengths, device=device)  # the slot that the new token takes
        self.generated = 1  # tokens that are in the buffer once the step is done
        self.scores: Tensor | None = None
        self.selection: Selection | None = None
        self.chosen: tuple[Tensor, Tensor | None] | None = None

    @property
    def extent(self) -> tuple[int, int]:
        """How many slots, and how many generated tokens, this step's shapes have room for."""
        room = self.plan.tail.shape[1] - self.plan.text_width
        if self.kernel is not None:
            return self.buffer.slots, room
        end = round_up(max(self.buffer.lengths) + 1, self.bucket)
        return min(end, self.buffer.slots), min(round_up(self.generated, self.bucket), room)

    def settle(self) -> None:
        """Fix on the host what the next step's shapes are, so that `begin` looks at nothing that grows."""
        self.end, self.until = self.extent
        self.padded = self.bucket > 1 or not self.buffer.even

    def begin(self) -> None:
        """Work out where the token goes and what may be read; nothing of it depends on the layer."""
        self.flat = self.newest + self.plan.offset[:, 0]
        self.mask = None
        if self.padded:
            self.mask = (torch.arange(self.end, device=self.flat.device) <= self.newest[:, None])[:, None, None]

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Store the new keys and values and give back what this layer reads; see `Pass.update`."""
        self.buffer.put(layer, key, value, self.flat)
        chosen = self._chosen(layer)
        if chosen is None or self.kernel is not None:
            return self.buffer.read(layer, self.end)
        return self.buffer.gather(layer, chosen[0])

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend from the newest token, and let the selector choose where it watches; see `Pass.attend`."""
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
        """Give what a pruned layer reads and its mask; None for a layer that reads all."""
        pruned = self.selector is not None and layer >= self.selector.prune_from
        return self.chosen if pruned else None

    def advance(self) -> None:
        """Count the token on the host as the step has counted it on the device."""
        self.buffer.lengths = [length + 1 for length in self.buffer.lengths]
        self.generated += 1

    def only(self, rows: list[int], index: Tensor) -> "DecodePass":
        """Give the pass that goes on with `rows` alone; `index` is the same on the device."""
        left = copy(self)
        left.buffer = self.buffer.only(rows)
        left.plan = self.plan.only(index)
        left.newest = self.newest[index]
        left.selector = self.selector and self.selector.only(index)
        return left

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the cache interface of transformers."""
        return max(self.buffer.lengths)


class SplitPass:
    """A pass of one new token a row through layers that do not all hold the same tokens: each part serves its own."""

    def __init__(self, parts: Sequence[DecodePass]) -> None:
        self.by_layer = {layer: part for part in parts for layer in part.buffer.layers}

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """See `Pass.update`."""
        return self.by_layer[layer].update(key, value, layer)

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See `Pass.attend`."""
        return self.by_layer[module.layer_idx].attend(module, query, key, value, scaling)

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the cache interface of transformers."""
        return self.by_layer[layer].get_seq_length()
