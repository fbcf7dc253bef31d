"""Decode steps as CUDA graphs: captured once for each shape, replayed for every step and run that has it.

A step of a 7B model is some thousand kernel launches, which take the host several times as long as the device needs to
run them. A replayed graph is one launch.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decode import DecodePass, DecodeStep, Outcome
from dycoke_cli.engine.reading import round_up
from dycoke_cli.language_model import LanguageModel

BUCKET = 256  # shapes of captured steps are multiples of it
WARM_UPS = 3  # runs before a capture, in which libraries choose their algorithms and take their workspaces

Capture = Callable[[Callable[[], Outcome]], Callable[[], Outcome]]


def cuda_graph(run: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Capture `run` as a CUDA graph; the result replays it and gives its outcome, which the next replay overwrites."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on using the device
        outcome = run()

    def replay() -> Outcome:
        graph.replay()
        return outcome

    return replay


class CapturedStep(DecodeStep):
    """A decode step that runs as a graph, one for each extent that its parts reach.

    capture: makes a replay of a function; with the function itself in its place, everything but the capture is tested
    without a device.
    """

    def __init__(
        self, model: LanguageModel, parts: Sequence[DecodePass], positions: Tensor, capture: Capture = cuda_graph
    ) -> None:
        super().__init__(model, parts, positions)
        self.capture = capture
        self.replays: dict[tuple[tuple[int, int], ...], Callable[[], Outcome]] = {}

    def __call__(self, tokens: Tensor) -> Outcome:
        """Run `tokens` (batch,) int64; what comes back is the caller's to keep."""
        device = self.tokens.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            self.tokens.copy_(tokens[:, None])
            extent = tuple(part.extent for part in self.parts)
            if extent not in self.replays:
                self.replays[extent] = self._captured()
            outcome = self.replays[extent]().cloned()
        self.advance()
        return outcome

    def _captured(self) -> Callable[[], Outcome]:
        """Warm up and capture; the state is put back each time, as if the step had not run."""
        before = {name: tensor.clone() for name, tensor in self.tensors()}
        device = self.tokens.device
        stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream(device))
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.run()
                self._restore(before)
        if stream is not None:
            torch.cuda.current_stream(device).wait_stream(stream)
        replay = self.capture(self.run)
        self._restore(before)
        return replay

    def _restore(self, before: dict[str, Tensor]) -> None:
        for name, tensor in self.tensors():
            tensor.copy_(before[name])

    @property
    def signature(self) -> tuple[Any, ...]:
        """What two runs must have in common for one's graphs to serve the other: memory, shapes and settings."""
        signed: list[Any] = [self.model.body]
        for part in self.parts:
            store = part.buffer.store
            signed.append((store.data_ptr(), store.shape, part.bucket))
            for owner in (part.plan, part.selector):
                values = vars(owner).items() if owner is not None else ()
                signed.append([(name, value) for name, value in values if not isinstance(value, Tensor)])
        signed.append([(name, tensor.shape) for name, tensor in self.tensors()])
        return tuple(signed)

    def reload(self, other: "CapturedStep") -> "CapturedStep":
        """Become another run of the same signature, and keep the graphs."""
        fresh = dict(other.tensors())
        for name, tensor in self.tensors():
            tensor.copy_(fresh[name])
        for mine, its in zip(self.parts, other.parts, strict=True):
            mine.buffer, mine.generated = its.buffer, its.generated
        return self


class GraphStore:
    """Keeps one key-value buffer and the steps captured over it, for the next run that fits them.

    On a CPU nothing is kept: a buffer is as long as its run, and steps run as they are.
    """

    def __init__(self, device: torch.device, capture: Capture | None = None, bucket: int = BUCKET) -> None:
        self.capture = capture or (cuda_graph if device.type == "cuda" else None)
        self.bucket = bucket if self.capture else 1  # what lengths are rounded up to
        self.buffer: KVBuffer | None = None
        self.steps: list[CapturedStep] = []

    def empty_buffer(self, model: LanguageModel, batch: int, slots: int) -> KVBuffer:
        """Give a buffer with at least `slots` slots for each of `batch` rows; the one that is kept, if it fits."""
        if self.capture is None:
            return KVBuffer.empty(model, batch, slots)
        slots = round_up(slots, self.bucket)
        kept = self.buffer
        if kept is None or (kept.batch, kept.slots) != (batch, slots):
            self.buffer, self.steps = None, []  # freed before the new one is allocated
            self.buffer = kept = KVBuffer.empty(model, batch, slots)
        kept.rewind([0] * batch)
        return kept

    def grown(self, buffer: KVBuffer, slots: int) -> KVBuffer:
        """Copy a one-row buffer into one with at least `slots` slots, which is kept in its place."""
        larger = buffer.fork(1, round_up(slots, self.bucket))
        if self.buffer is not None and buffer.begins_at(self.buffer):
            self.buffer, self.steps = larger, []
        return larger

    def fewer(self, rows: int, running: int) -> int:
        """Say with how many rows a batch of `rows` should go on when `running` of them still do.

        Every number of rows needs graphs of its own, so it is halved; without graphs it is just those that run.
        """
        if self.capture is None:
            return running
        half = 1 << max(running - 1, 0).bit_length()
        return min(half, rows)

    def step(self, model: LanguageModel, parts: Sequence[DecodePass], positions: Tensor) -> DecodeStep:
        """Make the step of a run, from a captured one where its shapes are the same."""
        if self.capture is None:
            return DecodeStep(model, parts, positions)
        step = CapturedStep(model, parts, positions, self.capture)
        for kept in self.steps:
            if kept.signature == step.signature:
                return kept.reload(step)
        if self.buffer is not None and all(part.buffer.begins_at(self.buffer) for part in step.parts):
            self.steps.append(step)
        return step
