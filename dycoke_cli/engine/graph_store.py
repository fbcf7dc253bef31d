"""Keep captured decode steps and their key-value buffer between runs; create steps and buffers for a run."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decode import Compiled, DecodeStep
from dycoke_cli.engine.decode_attention import DecodeAttention
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.graph import Capture, CapturedStep, cuda_graph
from dycoke_cli.engine.kv_pruning import round_up
from dycoke_cli.engine.operators import Operators
from dycoke_cli.models.language_model import LanguageModel

BUCKET = 256  # lengths in captured steps are rounded up to a multiple of it


class GraphStore:
    """Keeps one key-value buffer and the steps captured over it, and reuses them for later runs that fit.

    On a CPU, and with `replayed` off, nothing is kept: a buffer is as long as its run, and steps are not captured.
    """

    def __init__(
        self,
        device: torch.device,
        capture: Capture | None = None,
        bucket: int = BUCKET,
        operators: Operators | None = None,
        replayed: bool = True,
        compiled: Compiled | None = None,
    ) -> None:
        self.capture = capture or (cuda_graph if device.type == "cuda" and replayed else None)
        self.bucket = bucket if self.capture else 1  # lengths are rounded up to a multiple of it
        self.device, self.operators, self.compiled = device, operators, compiled
        self._decoder: Decoder | None = None
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

    def decoder(self, model: LanguageModel) -> Decoder:
        """Return the decoder of a model, with the operators for its device."""
        if self._decoder is None or self._decoder.model is not model:
            self._decoder = Decoder(model, self.operators or self._operators(model))
        return self._decoder

    def _operators(self, model: LanguageModel) -> Operators:
        if self.device.type != "cuda":
            return Operators()
        from dycoke_cli.engine.kernels.checked import checked_operators

        operators = checked_operators(self.device, model.dtype, model.shape, model.weights[0].head_norms is not None)
        if self.capture is None:  # the lengths of such steps are exact, without surplus slots
            operators = replace(operators, attend=None, attend_and_score=None)
        if self.compiled is None:
            return operators
        from dycoke_cli.engine.compiled import opaque

        # The compiler fuses what is between the products itself.
        return Operators(attend=operators.attend and opaque(operators.attend))

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

    def step(self, decoder: Decoder, parts: Sequence[DecodeAttention], positions: Tensor) -> DecodeStep:
        """Return the step of a run, a kept captured one if its signature is the same."""
        if self.capture is None:
            return DecodeStep(decoder, parts, positions, self.compiled)
        step = CapturedStep(decoder, parts, positions, self.capture, self.compiled)
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
