"""Keys and values of every layer, in one buffer that is written once and read through indices."""

from collections.abc import Sequence
from copy import copy
from itertools import groupby

import torch
from torch import Tensor

from dycoke_cli.models.language_model import LanguageModel


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
        with torch.inference_mode(False):  # of one kind wherever it is made, or a step is compiled for each
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
        """The tensor of the first layers: of all of them, unless they are on several devices."""
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

    def of(self, layer: int) -> Tensor:
        """Give one layer's part: (2, batch, slots, kv_heads, head_dim)."""
        store, place = self._home(layer)
        return store[place]

    def _home(self, layer: int) -> tuple[Tensor, int]:
        """Find the store that holds a layer, and its place in there."""
        place = layer - self.layers.start
        for store in self.stores:
            if place < len(store):
                return store, place
            place -= len(store)
        raise IndexError(f"layer {layer} is not in this buffer")

    def write(self, layer: int, key: Tensor, value: Tensor, starts: list[int]) -> None:
        """Put `key` and `value` (batch, kv_heads, new, head_dim) at the slots from `starts` (one a row) on."""
        new = key.shape[2]
        keys, values = self.of(layer)
        for first, row_slice in _runs(starts):
            keys[row_slice, first : first + new] = key[row_slice].transpose(1, 2)
            values[row_slice, first : first + new] = value[row_slice].transpose(1, 2)

    def read(self, layer: int, end: int) -> tuple[Tensor, Tensor]:
        """Give views of the first `end` slots: two of (batch, kv_heads, end, head_dim)."""
        keys, values = self.of(layer)[:, :, :end].transpose(2, 3)
        return keys, values

    def put(self, layer: int, key: Tensor, value: Tensor, flat: Tensor) -> None:
        """Put one new token's `key` and `value` (batch, kv_heads, 1, head_dim) at the places `flat` (batch,) int64.

        A place is row * slots + slot: it lies on the device, so that a captured step can move it.
        """
        store, place = self._home(layer)
        # A compiler makes functions of what happens in place, and copies the whole store for each layer's write.
        put = torch.ops.dycoke.put if torch.compiler.is_compiling() else put_token
        put(store, place, key, value, flat.to(store.device))

    def gather(self, layer: int, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Copy the places `flat` (batch, chosen) int64, as in `put`: two of (batch, kv_heads, chosen, head_dim)."""
        store = self.of(layer)
        chosen = flat.flatten().to(store.device)
        # Both halves at once: most of what it costs is finding the places.
        both = store.flatten(1, 2).index_select(1, chosen).unflatten(1, tuple(flat.shape)).transpose(2, 3)
        return both[0], both[1]

    def part(self, first: int, last: int) -> "KVBuffer":
        """Give the rows from `first` to before `last` as a buffer of their own, over the same memory."""
        part = copy(self)
        part.stores = [store[:, :, first:last] for store in self.stores]
        part.lengths = self.lengths[first:last]
        return part

    def only(self, rows: list[int]) -> "KVBuffer":
        """Go on with `rows` alone, in that order: each that is not in its place takes the place of one that is gone."""
        for place, row in enumerate(rows):
            if place != row:
                filled = self.lengths[row]
                for store in self.stores:
                    store[:, :, place, :filled] = store[:, :, row, :filled]
        left = self.part(0, len(rows))
        left.lengths = [self.lengths[row] for row in rows]
        return left

    def begins_at(self, other: "KVBuffer") -> bool:
        """True where this is `other` or its first rows."""
        return self.store.data_ptr() == other.store.data_ptr()

    def rewind(self, lengths: list[int]) -> None:
        """Forget everything after the first `lengths` slots, one number a row."""
        self.lengths = list(lengths)

    def fork(self, rows: int, slots: int) -> "KVBuffer":
        """Copy a one-row buffer into `rows` rows of `slots` slots, so that several questions can follow one video."""
        kv_heads, head_dim = self.store.shape[4:]
        forked = KVBuffer(self.layers, rows, slots, kv_heads, head_dim, self.store.dtype, self.devices)
        filled = self.lengths[0]
        for mine, own in zip(forked.stores, self.stores, strict=True):
            mine[:, :, :, :filled] = own[:, :, :, :filled]
        forked.lengths = [filled] * rows
        return forked


def put_token(store: Tensor, place: int, key: Tensor, value: Tensor, flat: Tensor) -> None:
    """Put one token's `key` and `value` into the layer that lies at `place` of a `store`; see `KVBuffer.put`.

    It takes the whole store: an operator that is given a view of it and writes there is compiled wrongly by inductor
    (seen with torch 2.15 on a CPU), so that the next step does not read what this one wrote.
    """
    for half, new in zip(store[place], (key, value), strict=True):
        half.flatten(0, 1).index_copy_(0, flat, new[:, :, 0])


def _runs(starts: list[int]) -> list[tuple[int, slice]]:
    """Group neighbouring rows that write at the same slot, so that an even batch is one copy."""
    runs: list[tuple[int, slice]] = []
    for row, start in enumerate(starts):
        if runs and runs[-1][0] == start:
            runs[-1] = (start, slice(runs[-1][1].start, row + 1))
        else:
            runs.append((start, slice(row, row + 1)))
    return runs
