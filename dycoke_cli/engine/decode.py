"""One decode step: run one new token per row, score visual tokens and select those the later layers read.

The step reads and writes tensors of constant shape and address (token, position, slots to read) and no value on the
host, so that it can be captured as a CUDA graph. On a CPU the same function runs without capture.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dycoke_cli.engine.decode_attention import DecodeAttention, SplitAttention
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.methods.protocol import Selection
from dycoke_cli.system.device import upload


class Outcome(NamedTuple):
    """Outputs of a step; the next replay of a captured step overwrites them."""

    logits: Tensor  # (batch, vocabulary)
    selection: Selection | None  # visual tokens that the pruned layers read
    scores: Tensor | None  # (batch, width of the KVPruning) float32

    def cloned(self) -> "Outcome":
        """Return a copy that the next replay does not overwrite."""
        selection = self.selection
        if selection is not None:
            valid = None if selection.valid is None else selection.valid.clone()
            selection = Selection(selection.index.clone(), valid, selection.changed.clone())
        return Outcome(self.logits.clone(), selection, None if self.scores is None else self.scores.clone())

    def only(self, rows: list[int]) -> "Outcome":
        """Return only `rows`, in this order."""
        index = upload(rows, self.logits.device)

        def take(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.index_select(0, index)

        selection = self.selection
        if selection is not None:
            selection = Selection(take(selection.index), take(selection.valid), take(selection.changed))
        return Outcome(take(self.logits), selection, take(self.scores))


class DecodeStep:
    """The decode step of one run, called for every token. `run` can be captured; the other methods run on the host.

    parts: the attention of all layers, or of disjoint ranges of layers, the last of which may select; positions:
    (batch,) int64, rotary position of the first new token; compiled: returns a compiled replacement of `run`.
    """

    def __init__(
        self,
        decoder: Decoder,
        parts: Sequence[DecodeAttention],
        positions: Tensor,
        compiled: "Compiled | None" = None,
    ) -> None:
        self.decoder, self.parts = decoder, list(parts)
        self.attention = parts[0] if len(parts) == 1 else SplitAttention(parts)
        self.positions = positions[:, None].clone()
        self.tokens = torch.zeros_like(self.positions)
        self.work = self.run if compiled is None else compiled(self)

    @property
    def batch(self) -> int:
        return self.tokens.shape[0]

    def run(self) -> Outcome:
        """Run `tokens` at `positions` and advance positions and slots, all on the device."""
        for part in self.parts:
            part.begin()
        hidden = self.decoder.run(self.decoder.embed(self.tokens), self.positions, self.attention)
        logits = self.decoder.logits(hidden)[:, 0]
        for part in self.parts:
            part.newest.add_(1)
        self.positions.add_(1)
        return Outcome(logits, self.parts[-1].selection, self.parts[-1].scores)

    def settle(self) -> None:
        """Set the shapes of the next step, on the host."""
        for part in self.parts:
            part.settle()

    def advance(self) -> None:
        """Update the lengths on the host after a step."""
        for part in self.parts:
            part.advance()

    def __call__(self, tokens: Tensor) -> Outcome:
        """Run one step on `tokens` (batch,) int64 without a CUDA graph."""
        self.tokens.copy_(tokens[:, None])
        self.settle()
        outcome = self.work()
        self.advance()
        selection = outcome.selection
        if selection is not None:  # the selector overwrites its index in later steps
            outcome = outcome._replace(selection=replace(selection, index=selection.index.clone()))
        return outcome

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield, by name, every tensor that a step reads or writes besides weights, keys and values."""
        yield from (("tokens", self.tokens), ("positions", self.positions))
        for number, part in enumerate(self.parts):
            for owner in (part.plan, part.selector):
                for name, value in vars(owner).items() if owner is not None else ():
                    if isinstance(value, Tensor):
                        yield f"{number}.{type(owner).__name__}.{name}", value
            yield f"{number}.newest", part.newest


# The type of `compiled.Compiler`, whose module imports this one.
Compiled = Callable[[DecodeStep], Callable[[], Outcome]]
