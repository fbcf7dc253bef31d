"""Keep captured decode steps and their key-value buffer between runs; create steps and buffers for a run."""

import logging
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from dycoke_cli.engine.attention import grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decode import Compiled, DecodeStep
from dycoke_cli.engine.decode_pass import DecodePass, Kernel
from dycoke_cli.engine.graph import Capture, CapturedStep, cuda_graph
from dycoke_cli.engine.kv_pruning import round_up
from dycoke_cli.models.language_model import LanguageModel

BUCKET = 256  # lengths in captured steps are rounded up to a multiple of it


@cache
def decode_kernel(device: torch.device) -> Kernel | None:
    """Return the decode kernel if it runs and agrees with PyTorch's attention on `device`, else None.

    A missing Triton, a driver, a compiler or a new version may make it fail; steps then copy the keys and values that
    they read, as on a CPU.
    """
    try:
        from dycoke_cli.engine.kernel import attend_in_place

        with torch.inference_mode(), torch.cuda.device(device):
            generator = torch.Generator(device).manual_seed(0)
            store = torch.randn(2, 2, 200, 2, 64, device=device, generator=generator)
            query = torch.randn(2, 6, 1, 64, device=device, generator=generator)
            newest = torch.tensor([199, 70], device=device)
            places = torch.arange(200, device=device)
            counts = places <= newest[:, None]
            flat = torch.where(counts, places + torch.tensor([[0], [200]], device=device), -1)
            keys, values = store.transpose(2, 3)
            expected = grouped_attention(query, keys, values, 0.2, counts[:, None, None])
            for table in (None, flat):
                torch.testing.assert_close(
                    attend_in_place(query, store, newest, table, 0.2), expected, atol=1e-2, rtol=1e-2
                )
    except Exception as error:  # any failure: attention works without the kernel
        logging.getLogger(__name__).warning("decode kernel not used: %s", str(error).strip().splitlines()[:1])
        return None
    return attend_in_place


class GraphStore:
    """Keeps one key-value buffer and the steps captured over it, and reuses them for later runs that fit.

    On a CPU, and with `replayed` off, nothing is kept: a buffer is as long as its run, and steps are not captured.
    """

    def __init__(
        self,
        device: torch.device,
        capture: Capture | None = None,
        bucket: int = BUCKET,
        kernel: Kernel | None = None,
        replayed: bool = True,
        compiled: Compiled | None = None,
    ) -> None:
        self.capture = capture or (cuda_graph if device.type == "cuda" and replayed else None)
        self.bucket = bucket if self.capture else 1  # lengths are rounded up to a multiple of it
        self.device, self.kernel, self.compiled = device, kernel, compiled
        self.buffer: KVBuffer | None = None
        self.steps: list[CapturedStep] = []

    @classmethod
    def of(cls, model: LanguageModel, compiled: bool = False) -> "GraphStore":
        """Create the store for a model; steps of a model on several devices are not captured.

        compiled: steps are compiled by torch.compile, and on CUDA captured after that.
        """
        return cls(
            model.device, replayed=len(set(model.layer_devices)) == 1, compiled=_compiler() if compiled else None
        )

    def kernel_for(self, head_dim: int) -> Kernel | None:
        """Return the kernel if it supports heads of width `head_dim`, else None."""
        if head_dim < 16 or head_dim.bit_count() != 1 or self.capture is None:
            return None
        kernel = self.kernel or (decode_kernel(self.device) if self.device.type == "cuda" else None)
        if kernel is None or self.compiled is None:
            return kernel
        from dycoke_cli.engine.compiled import opaque

        return opaque(kernel)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the buffer kept for the next run."""
        return 0 if self.buffer is None else self.buffer.nbytes

    def empty_buffer(self, model: LanguageModel, batch: int, slots: int) -> KVBuffer:
        """Return an empty buffer of `batch` rows with at least `slots` slots, the kept one if it fits."""
        if self.capture is None:
            return KVBuffer.empty(model, batch, slots)
        slots = round_up(slots, self.bucket)
        if self.buffer is None or self.buffer.batch < batch or self.buffer.slots < slots:
            self.buffer, self.steps = None, []  # freed before the new one is allocated
            self.buffer = KVBuffer.empty(model, batch, slots)
        part = self.buffer.part(0, batch)
        part.rewind([0] * batch)
        return part

    def grown(self, buffer: KVBuffer, slots: int) -> KVBuffer:
        """Copy a one-row buffer into one with at least `slots` slots, which replaces it if it was kept."""
        larger = buffer.fork(1, round_up(slots, self.bucket))
        if self.buffer is not None and buffer.shares_memory_with(self.buffer):
            self.buffer, self.steps = larger, []
        return larger

    def fewer(self, rows: int, running: int) -> int:
        """Return how many of `rows` rows to keep while `running` of them still run.

        Each number of rows needs its own graphs, so it is `running` rounded up to a power of two; without graphs it is
        `running`.
        """
        if self.capture is None:
            return running
        power = 1 << max(running - 1, 0).bit_length()
        return min(power, rows)

    def step(self, model: LanguageModel, parts: Sequence[DecodePass], positions: Tensor) -> DecodeStep:
        """Return the step of a run, a kept captured one if its signature is the same."""
        if self.capture is None:
            return DecodeStep(model, parts, positions, self.compiled)
        step = CapturedStep(model, parts, positions, self.capture, self.compiled)
        for kept in self.steps:
            if kept.signature == step.signature:
                return kept.reload(step)
        if self.buffer is not None and all(part.buffer.shares_memory_with(self.buffer) for part in step.parts):
            self.steps.append(step)
        return step


def _compiler() -> Compiled:
    """Create the compiler; imported here because torch._dynamo takes a second to import."""
    from dycoke_cli.engine.compiled import Compiler

    return Compiler()
