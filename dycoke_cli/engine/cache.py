"""The key-value buffer: keys and values of all layers, written once and read by slices or indices."""

from collections.abc import Sequence
from copy import copy
from itertools import groupby

import torch
from torch import Tensor

from dycoke_cli.models.language_model import LanguageModel


class KVBuffer:
    """Preallocated keys and values for a batch of prompts.

    Slot i of a row holds prompt position i; generated tokens follow. Rows are filled from the left, so a shorter
    row has unused slots at its end. Pruning only selects which slots are read and deletes none.

    layers: the decoder layers stored here; not all if later ones store fewer tokens in a separate buffer.
    devices: the device of each of these layers. Consecutive layers on one device share one tensor.
    """

    def __init__(
        self,
        layers: range,
        batch: int,
        slots: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        devices: Sequence[torch.device],
    ) -> None:
        # Zeros, because unused slots are read under a mask and 0 * NaN is NaN.
        # The heads of a slot are contiguous, so that gathering a token copies one contiguous block.
        self.layers, self.devices = layers, tuple(devices)
        with torch.inference_mode(False):  # never inference tensors, or a step is compiled for either kind
            self.stores = [
                torch.zeros(len([*run]), 2, batch, slots, kv_heads, head_dim, dtype=dtype, device=device)
                for device, run in groupby(self.devices)
            ]
        self.lengths = [0] * batch

    @classmethod
    def empty(cls, model: LanguageModel, batch: int, slots: int, layers: range | None = None) -> "KVBuffer":
        """Allocate a buffer of `slots` slots for `batch` rows of `model`; layers: default all."""
        layers = range(model.layers) if layers is None else layers
        devices = model.layer_devices[layers.start : layers.stop]
        return cls(layers, batch, slots, model.kv_heads, model.head_dim, model.dtype, devices)

    @property
    def store(self) -> Tensor:
        """The tensor of the layers on the first device, of all layers if there is one device."""
        return self.stores[0]

    @property
    def batch(self) -> int:
        return self.store.shape[2]

    @property
    def slots(self) -> int:
        return self.store.shape[3]

    @property
    def nbytes(self) -> int:
        """Allocated bytes."""
        return sum(store.numel() * store.element_size() for store in self.stores)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one prompt position over all layers stored here."""
        return self.nbytes // (self.batch * self.slots)

    @property
    def even(self) -> bool:
        """True if all rows have the same length, so that no mask is needed."""
        return len(set(self.lengths)) == 1

    def of(self, layer: int) -> Tensor:
        """Return keys and values of one layer: (2, batch, slots, kv_heads, head_dim)."""
        store, place = self.place(layer)
        return store[place]

    def place(self, layer: int) -> tuple[Tensor, int]:
        """Return the store that contains a layer, and its index in that store. Raise IndexError if none does."""
        place = layer - self.layers.start
        for store in self.stores:
            if place < len(store):
                return store, place
            place -= len(store)
        raise IndexError(f"layer {layer} is not in this buffer")

    def read(self, layer: int, end: int) -> tuple[Tensor, Tensor]:
        """Return views of keys and values in the first `end` slots: two (batch, kv_heads, end, head_dim)."""
        keys, values = self.of(layer)[:, :, :end].transpose(2, 3)
        return keys, values

    def gather(self, layer: int, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Copy keys and values at `flat` (batch, chosen) int64, each row * slots + slot.

        Returns two tensors (batch, kv_heads, chosen, head_dim).
        """
        store = self.of(layer)
        chosen = flat.flatten().to(store.device)
        # Keys and values in one call: indexing takes most of the time.
        both = store.flatten(1, 2).index_select(1, chosen).unflatten(1, tuple(flat.shape)).transpose(2, 3)
        return both[0], both[1]

    def part(self, first: int, last: int) -> "KVBuffer":
        """Return rows `first` to `last - 1` as a buffer over the same memory."""
        part = copy(self)
        part.stores = [store[:, :, first:last] for store in self.stores]
        part.lengths = self.lengths[first:last]
        return part

    def only(self, rows: list[int]) -> "KVBuffer":
        """Keep only `rows`, in that order, by copying rows whose index changes over removed ones."""
        for place, row in enumerate(rows):
            if place != row:
                filled = self.lengths[row]
                for store in self.stores:
                    store[:, :, place, :filled] = store[:, :, row, :filled]
        kept = self.part(0, len(rows))
        kept.lengths = [self.lengths[row] for row in rows]
        return kept

    def shares_memory_with(self, other: "KVBuffer") -> bool:
        """Return True if this buffer is `other` or its first rows, in the same memory."""
        return self.store.data_ptr() == other.store.data_ptr()

    def rewind(self, lengths: list[int]) -> None:
        """Discard all but the first `lengths[row]` slots of each row."""
        self.lengths = list(lengths)

    def fork(self, rows: int, slots: int) -> "KVBuffer":
        """Copy a one-row buffer into `rows` rows of `slots` slots, so that several questions can share one prefill."""
        kv_heads, head_dim = self.store.shape[4:]
        forked = KVBuffer(self.layers, rows, slots, kv_heads, head_dim, self.store.dtype, self.devices)
        filled = self.lengths[0]
        for target, source in zip(forked.stores, self.stores, strict=True):
            target[:, :, :, :filled] = source[:, :, :, :filled]
        forked.lengths = [filled] * rows
        return forked
