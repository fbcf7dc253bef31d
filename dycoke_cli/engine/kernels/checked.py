"""Check each Triton kernel against PyTorch once for a device, and use PyTorch's operator for one that fails."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row, grouped_attention
from dycoke_cli.engine.operators import Operators
from dycoke_cli.models.flops import TextShape
from dycoke_cli.models.layer_weights import Norm

NAMES = ("norm", "add_norm", "rotate_and_store", "silu_multiply", "attend", "attend_and_score")
# Tolerances, relative to the largest number; PyTorch's products may have less than float32's precision.
FLOAT32, HALF = 1e-2, 3e-2
STORE_AXES = 6  # of a buffer's store, into which an operator writes
SLOTS, NEWEST = 256, (199, 70)  # of the buffer of a check: its size, and the last filled slot of each of two rows


@cache
def checked_operators(device: torch.device, dtype: torch.dtype, shape: TextShape, head_norms: bool) -> Operators:
    """Return the kernels that run on `device` and agree with PyTorch there, for a model of these sizes.

    A missing Triton, a driver, a compiler or a new version may make one fail, which is logged. The checks compile the
    very kernels that the model runs later. head_norms: the model normalises each head's queries and keys.
    """
    chosen, failed = Operators(), dict[str, str]()
    with torch.inference_mode(), torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        for name in NAMES:
            if name.startswith("attend") and (shape.head_dim < 16 or shape.head_dim.bit_count() != 1):
                continue  # the attention kernels read heads whose width is a power of two
            try:
                kernel = _kernel(name)
                arguments = _Inputs(device, dtype, shape, head_norms)
                _compare(getattr(arguments, name)(), kernel, getattr(Operators(), name) or REFERENCES[name])
            except Exception as error:  # any failure: PyTorch computes the same without the kernel
                failed[name] = next(iter(str(error).strip().splitlines()), type(error).__name__)
            else:
                chosen = replace(chosen, **{name: kernel})
    if failed:
        reason = next(iter(failed.values()))
        logging.getLogger(__name__).warning("kernels not used: %s (%s)", ", ".join(failed), reason)
    return chosen


def _kernel(name: str) -> Callable[..., Any]:
    from dycoke_cli.engine.kernels import attention, layer

    kernels: dict[str, Callable[..., Any]] = {
        "attend": attention.attend_in_place,
        "attend_and_score": attention.attend_and_score,
    }
    return kernels.get(name) or getattr(layer, name)


def _compare(arguments: list[Any], kernel: Callable[..., Any], reference: Callable[..., Any]) -> None:
    """Raise AssertionError unless both return the same, and write the same into their arguments."""
    own = [each.clone() if isinstance(each, Tensor) and each.is_contiguous() else each for each in arguments]
    ours, wanted = kernel(*own), reference(*arguments)
    tolerance = FLOAT32 if arguments[0].dtype == torch.float32 else HALF
    stores = [(mine, other) for mine, other in zip(own, arguments, strict=True) if isinstance(mine, Tensor)]
    for one, other in [*_pairs(ours, wanted), *(pair for pair in stores if pair[0].dim() == STORE_AXES)]:
        scale = float(other.abs().max())
        torch.testing.assert_close(one, other, atol=tolerance * scale, rtol=tolerance)


def _pairs(ours: Any, wanted: Any) -> list[tuple[Tensor, Tensor]]:
    return [(ours, wanted)] if isinstance(ours, Tensor) else list(zip(ours, wanted, strict=True))


class _Inputs:
    """Random arguments of each operator: two rows, of the sizes of a model."""

    def __init__(self, device: torch.device, dtype: torch.dtype, shape: TextShape, head_norms: bool) -> None:
        self.device, self.dtype, self.shape, self.head_norms = device, dtype, shape, head_norms
        self.generator = torch.Generator(device).manual_seed(0)
        self.newest = torch.tensor(NEWEST, device=device)

    def _draw(self, *size: int) -> Tensor:
        return torch.randn(*size, device=self.device, generator=self.generator).to(self.dtype)

    def norm(self) -> list[Any]:
        return [self._draw(2, 1, self.shape.hidden), self._draw(self.shape.hidden), 1e-6]

    def add_norm(self) -> list[Any]:
        hidden, *rest = self.norm()
        return [hidden, self._draw(2, 1, self.shape.hidden), *rest]

    def rotate_and_store(self) -> list[Any]:
        shape, width = self.shape, self.shape.head_dim
        sizes = [heads * width for heads in (shape.heads, shape.kv_heads, shape.kv_heads)]
        parts = self._draw(2, 1, sum(sizes)).split(sizes, dim=-1)
        angles = [self._draw(2, 1, width // 2).repeat(1, 1, 2) for _ in range(2)]
        norms = (Norm(self._draw(width), 1e-6), Norm(self._draw(width), 1e-6)) if self.head_norms else None
        store = self._draw(2, 2, 2, SLOTS, shape.kv_heads, width)
        return [*parts, *angles, norms, store, 1, self.newest + torch.tensor([0, SLOTS], device=self.device)]

    def silu_multiply(self) -> list[Any]:
        return list(self._draw(2, 1, 2 * self.shape.intermediate).chunk(2, dim=-1))

    def attend(self) -> list[Any]:
        """A table of the filled slots: with it the kernel reads the same."""
        places = torch.arange(SLOTS, device=self.device)
        table = torch.where(places <= self.newest[:, None], places + self.newest.new_tensor([[0], [SLOTS]]), -1)
        return [*self.attend_and_score(), table]

    def attend_and_score(self) -> list[Any]:
        query = self._draw(2, 1, self.shape.heads, self.shape.head_dim)
        return [query, self._draw(2, 2, SLOTS, self.shape.kv_heads, self.shape.head_dim), self.newest]


def _attend(query: Tensor, store: Tensor, newest: Tensor, table: Tensor | None = None) -> Tensor:
    keys, values = store.transpose(2, 3)
    return grouped_attention(query, keys, values, _filled(newest))


def _attend_and_score(query: Tensor, store: Tensor, newest: Tensor) -> tuple[Tensor, Tensor]:
    keys, _ = store.transpose(2, 3)
    return _attend(query, store, newest), attention_row(query, keys, _filled(newest))


def _filled(newest: Tensor) -> Tensor:
    return (torch.arange(SLOTS, device=newest.device) <= newest[:, None])[:, None, None]


REFERENCES: dict[str, Callable[..., Any]] = {"attend": _attend, "attend_and_score": _attend_and_score}
