"""One decode step: every row reads, scores, selects and grows by one token.

The step is a function of tensors that keep their shape and place: which token, where it goes, what is read. It looks at
no value on the host, so a CUDA graph can be made of it; on a CPU the same function runs as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dycoke_cli.engine.decode_pass import DecodePass, SplitPass
from dycoke_cli.methods.protocol import Selection
from dycoke_cli.models.language_model import LanguageModel


class Outcome(NamedTuple):
    """What a step gives; a captured one overwrites it the next time."""

    logits: Tensor  # (batch, vocabulary)
    selection: Selection | None  # what the pruned layers read
    scores: Tensor | None  # (batch, width of the plan) float32

    def cloned(self) -> "Outcome":
        """Copy it to keep."""
        selection = self.selection
        if selection is not None:
            valid = None if selection.valid is None else selection.valid.clone()
            selection = Selection(selection.index.clone(), valid, selection.changed.clone())
        return Outcome(self.logits.clone(), selection, None if self.scores is None else self.scores.clone())

    def only(self, rows: list[int]) -> "Outcome":
        """Leave out all rows but these, in this order."""
        index = torch.tensor(rows).to(self.logits.device, non_blocking=True)

        def chosen(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.index_select(0, index)

        selection = self.selection
        if selection is not None:
            selection = Selection(chosen(selection.index), chosen(selection.valid), chosen(selection.changed))
        return Outcome(chosen(self.logits), selection, chosen(self.scores))


class DecodeStep:
    """The step of a run, again and again: `run` is what can be captured, the rest is the host's part of it.

    parts: one pass for all layers, or several that share them out, the last of which may select; positions: (batch,)
    int64, rotary position of the first new token; compiled: makes what does the work of `run` in its stead.
    """

    def __init__(
        self, model: LanguageModel, parts: Sequence[DecodePass], positions: Tensor, compiled: "Compiled | None" = None
    ) -> None:
        self.model, self.parts = model, list(parts)
        self.current = parts[0] if len(parts) == 1 else SplitPass(parts)
        self.positions = positions[:, None].clone()
        self.tokens = torch.zeros_like(self.positions)
        self.cache_argument = model.cache_argument
        self.work = self.run if compiled is None else compiled(self)

    @property
    def batch(self) -> int:
        return self.tokens.shape[0]

    def run(self) -> Outcome:
        """Run `tokens` at `positions` and move on, all on the device."""
        for part in self.parts:
            part.begin()
        hidden = self.model.body(
            input_ids=self.tokens,
            position_ids=self.positions,
            use_cache=True,
            dycoke=self.current,
            **{self.cache_argument: self.current},
        ).last_hidden_state
        logits: Tensor = self.model.head(hidden)[:, 0].to(self.model.device)
        for part in self.parts:
            part.newest.add_(1)
        self.positions.add_(1)
        return Outcome(logits, self.parts[-1].selection, self.parts[-1].scores)

    def settle(self) -> None:
        """Fix the shapes of the next step on the host."""
        for part in self.parts:
            part.settle()

    def advance(self) -> None:
        """Follow on the host."""
        for part in self.parts:
            part.advance()

    def __call__(self, tokens: Tensor) -> Outcome:
        """Run `tokens` (batch,) int64 as they are, without a graph."""
        self.tokens.copy_(tokens[:, None])
        self.settle()
        outcome = self.work()
        self.advance()
        selection = outcome.selection
        if selection is not None:  # the selector goes on writing into its index
            outcome = outcome._replace(selection=replace(selection, index=selection.index.clone()))
        return outcome

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Name every tensor that a step reads or writes besides weights, keys and values."""
        yield from (("tokens", self.tokens), ("positions", self.positions))
        for number, part in enumerate(self.parts):
            for owner in (part.plan, part.selector):
                for name, value in vars(owner).items() if owner is not None else ():
                    if isinstance(value, Tensor):
                        yield f"{number}.{type(owner).__name__}.{name}", value
            yield f"{number}.newest", part.newest


# What `compiled.Compiler` does.
Compiled = Callable[[DecodeStep], Callable[[], Outcome]]
