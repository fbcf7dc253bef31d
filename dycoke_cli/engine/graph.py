"""Decode steps as CUDA graphs, captured once per shape and replayed for every step and run of that shape.

A step of a 7B model is about a thousand kernel launches, which take the host several times longer than the device takes
to run them. A replayed graph is one launch.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from dycoke_cli.engine.decode import Compiled, DecodeStep, Outcome
from dycoke_cli.engine.decode_pass import DecodePass
from dycoke_cli.models.language_model import LanguageModel

WARM_UPS = 3  # runs before a capture, in which libraries select algorithms and allocate workspaces

Capture = Callable[[Callable[[], Outcome]], Callable[[], Outcome]]


def cuda_graph(run: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Capture `run` as a CUDA graph. Return its replay, whose outcome the next replay overwrites."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may use the device
        outcome = run()

    def replay() -> Outcome:
        graph.replay()
        return outcome

    return replay


class CapturedStep(DecodeStep):
    """A decode step that runs as a CUDA graph, one for each extent of its parts.

    capture: returns the replay of a function. An identity function runs the step without a GPU, for tests.
    """

    def __init__(
        self,
        model: LanguageModel,
        parts: Sequence[DecodePass],
        positions: Tensor,
        capture: Capture = cuda_graph,
        compiled: Compiled | None = None,
    ) -> None:
        super().__init__(model, parts, positions, compiled)
        self.capture = capture
        self.refused: str | None = None  # the error if the step could not be captured
        self.replays: dict[tuple[tuple[int, int], ...], Callable[[], Outcome]] = {}

    def __call__(self, tokens: Tensor) -> Outcome:
        """Run one step on `tokens` (batch,) int64. Later steps do not overwrite the outcome."""
        device = self.tokens.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            self.tokens.copy_(tokens[:, None])
            self.settle()
            extent = tuple(part.extent for part in self.parts)
            if extent not in self.replays:
                self.replays[extent] = self._captured()
            outcome = self.replays[extent]().cloned()
        self.advance()
        return outcome

    def _captured(self) -> Callable[[], Outcome]:
        """Warm up and capture the step, and restore its tensors after each run."""
        before = {name: tensor.clone() for name, tensor in self.tensors()}
        device = self.tokens.device
        stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream(device))
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.work()
                self._restore(before)
        if stream is not None:
            torch.cuda.current_stream(device).wait_stream(stream)
        try:
            replay = self.capture(self.work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Some models cannot be captured: they read a value on the host, or use several devices.
            logging.getLogger(__name__).warning("decode step not captured: %s", str(error).strip().splitlines()[:1])
            self.refused = str(error)
            replay = self.work
        self._restore(before)
        return replay

    def _restore(self, before: dict[str, Tensor]) -> None:
        for name, tensor in self.tensors():
            tensor.copy_(before[name])

    @property
    def signature(self) -> tuple[Any, ...]:
        """Memory, shapes and settings; graphs of one run can be replayed for another if these are equal."""
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
        """Copy the state of another run with the same signature, and keep the graphs."""
        source = dict(other.tensors())
        for name, tensor in self.tensors():
            tensor.copy_(source[name])
        for own, new in zip(self.parts, other.parts, strict=True):
            own.buffer, own.generated = new.buffer, new.generated
        return self
