"""Keys and values of every layer, in one buffer that is written once and read through indices."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from dycoke_cli.language_model import LanguageModel


class KVBuffer:
    """One preallocated store for a batch of prompts of different lengths.

    Slot i of a row holds prompt position i; generated tokens follow. Rows are filled from the left, so a shorter
    row has unused slots at its end. Nothing is ever moved or deleted: pruning and recall are choices of what to read.

    layers: the decoder layers it serves; all of them, unless later ones store fewer tokens in a buffer of their own.
    devices: where each of them computes. Layers in a row on one device share one tensor there.
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
        # A slot's heads lie together: choosing a token copies one contiguous piece.
        self.layers, self.devices = layers, tuple(devices)
        self.stores = [
            torch.zeros(len([*run]), 2, batch, slots, kv_heads, head_dim, dtype=dtype, device=device)
            for device, run in groupby(self.devices)
        ]
        self.lengths = [0] * batch

    @classmethod
    def empty(cls, model: LanguageModel, batch: int, slots: int, layers: range | None = None) -> "KVBuffer":
        """Allocate a buffer of `slots` slots for `batch` rows of `model`, for all its layers or some."""
        layers = range(model.layers) if layers is None else layers
        devices = model.layer_devices[layers.start : layers.stop]
        return cls(layers, batch, slots, model.kv_heads, model.head_dim, model.dtype, devices)

    @property
    def store(self) -> Tensor:
        """The tensor of the first layers: all of them, unless they are on several devices."""
        return self.stores[0]

    @property
    def batch(self) -> int:
        return self.store.shape[2]

    @property
    def slots(self) -> int:
        return self.store.shape[3]

    @property
    def nbytes(self) -> int:
        """Bytes the buffer takes, filled or not."""
        return sum(store.numel() * store.element_size() for store in self.stores)

    @property
    def bytes_per_token(self) -> int:
        """Bytes one prompt position takes over all layers that are stored here."""
        return self.nbytes // (self.batch * self.slots)

    @property
    def even(self) -> bool:
        """True while all rows are equally long, so that no mask is needed."""
        return len(set(self.lengths)) == 1

    def _of(self, layer: int) -> Tensor:
        """Give one layer's part: (2, batch, slots, kv_heads, head_dim)."""
        place = layer - self.layers.start
        for store in self.stores:
            if place < len(store):
                return store[place]
            place -= len(store)
        raise IndexError(f"layer {layer} is not in this buffer")

    def write(self, layer: int, key: Tensor, value: Tensor, starts: list[int]) -> None:
        """Put `key` and `value` (batch, kv_heads, new, head_dim) at the slots from `starts` (one a row) on."""
        new = key.shape[2]
        keys, values = self._of(layer)
        for first, row_slice in _runs(starts):
            keys[row_slice, first : first + new] = key[row_slice].transpose(1, 2)
            values[row_slice, first : first + new] = value[row_slice].transpose(1, 2)

    def read(self, layer: int, end: int) -> tuple[Tensor, Tensor]:
        """Give views of the first `end` slots: two of (batch, kv_heads, end, head_dim)."""
        keys, values = self._of(layer)[:, :, :end].transpose(2, 3)
        return keys, values

    def gather(self, layer: int, index: Tensor) -> tuple[Tensor, Tensor]:
        """Copy the slots `index` (batch, chosen) int64 of each row: two of (batch, kv_heads, chosen, head_dim)."""
        offset = torch.arange(self.batch, device=index.device)[:, None] * self.slots
        store = self._of(layer)
        flat = (index + offset).flatten().to(store.device)
        keys, values = (
            half.flatten(0, 1).index_select(0, flat).unflatten(0, tuple(index.shape)).transpose(1, 2) for half in store
        )
        return keys, values

    def rewind(self, lengths: list[int]) -> None:
        """Forget everything after the first `lengths` slots, one number a row."""
        self.lengths = list(lengths)

    def fork(self, rows: int, slots: int) -> "KVBuffer":
        """Copy a one-row buffer into `rows` rows of `slots` slots, so that several questions can follow one video."""
        kv_heads, head_dim = self.store.shape[4:]
        copy = KVBuffer(self.layers, rows, slots, kv_heads, head_dim, self.store.dtype, self.devices)
        filled = self.lengths[0]
        for mine, own in zip(copy.stores, self.stores, strict=True):
            mine[:, :, :, :filled] = own[:, :, :, :filled]
        copy.lengths = [filled] * rows
        return copy


def _runs(starts: list[int]) -> list[tuple[int, slice]]:
    """Group neighbouring rows that write at the same slot, so that an even batch is one copy."""
    runs: list[tuple[int, slice]] = []
    for row, start in enumerate(starts):
        if runs and runs[-1][0] == start:
            runs[-1] = (start, slice(runs[-1][1].start, row + 1))
        else:
            runs.append((start, slice(row, row + 1)))
    return runs
