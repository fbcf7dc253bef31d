"""Decode steps as CUDA graphs, captured once per shape and replayed for every step and run of that shape.

A step of a 7B model is hundreds of kernel launches, which take the host longer than the device takes to run them. A
replayed graph is one launch.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from dycoke_cli.engine.decode import Compiled, DecodeStep, Outcome
from dycoke_cli.engine.decode_attention import DecodeAttention
from dycoke_cli.engine.decoder import Decoder

# Steps that run without a graph before one is captured. In them libraries select algorithms, kernels are compiled and
# workspaces are allocated, as a capture requires; a short answer needs no graph.
WARM_UPS = 3
LEAST_LEFT = 4  # a capture takes about as long as so many replays save: it must serve more steps than that

T = TypeVar("T")
Capture = Callable[[Callable[[], Outcome]], Callable[[], Outcome]]


def cuda_graph(run: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Capture `run` on the current stream as a CUDA graph. Return its replay, which overwrites its earlier outcome."""
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the device.
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
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
        decoder: Decoder,
        parts: Sequence[DecodeAttention],
        positions: Tensor,
        capture: Capture = cuda_graph,
        compiled: Compiled | None = None,
    ) -> None:
        super().__init__(decoder, parts, positions, compiled)
        self.capture = capture
        self.warm_ups = 0
        self.refused: str | None = None  # the error if the step could not be captured
        self.replays: dict[tuple[tuple[int, int], ...], Callable[[], Outcome]] = {}
        # Steps that are not replayed, and captures, run on a stream of their own, as captures must.
        self.stream = torch.cuda.Stream(self.tokens.device) if self.tokens.is_cuda else None

    def __call__(self, tokens: Tensor) -> Outcome:
        """Run one step on `tokens` (batch,) int64. Later steps do not overwrite the outcome."""
        with torch.cuda.device(self.tokens.device) if self.stream is not None else nullcontext():
            self.tokens.copy_(tokens[:, None])
            self.settle()
            extent = tuple(part.extent for part in self.parts)
            if extent not in self.replays and self._pays():
                self.replays[extent] = self._apart(self._captured)
            if extent in self.replays:
                outcome = self.replays[extent]().cloned()
            else:
                self.warm_ups += 1
                outcome = self._apart(self.work).cloned()
        self.advance()
        return outcome

    def _pays(self) -> bool:
        """Return whether a capture is likely to pay: after the first steps, if enough may follow."""
        part = self.parts[0]
        return self.warm_ups >= WARM_UPS and part.room - part.generated >= LEAST_LEFT

    def _apart(self, run: Callable[[], T]) -> T:
        """Call `run` on the stream for captures, after the work so far and before all later work."""
        if self.stream is None:
            return run()
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = run()
        current.wait_stream(self.stream)
        return result

    def _captured(self) -> Callable[[], Outcome]:
        """Capture the step, which runs nothing."""
        try:
            return self.capture(self.work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Some models cannot be captured: they read a value on the host, or use several devices.
            logging.getLogger(__name__).warning("decode step not captured: %s", str(error).strip().splitlines()[:1])
            self.refused = str(error)
            return self.work

    @property
    def signature(self) -> tuple[Any, ...]:
        """Memory, shapes and settings; graphs of one run can be replayed for another if these are equal."""
        signed: list[Any] = [self.decoder]
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
