"""One decode step: every row reads, scores, selects and grows by one token.

The step is a function of tensors that keep their shape and place: which token, where it goes, what is read. It looks at
no value on the host, so a CUDA graph can be made of it; on a CPU the same function runs as it is.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row, grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.reading import ReadingPlan, round_up
from dycoke_cli.language_model import LanguageModel
from dycoke_cli.methods.protocol import Selection, Selector


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

        selection = self.selection and Selection(*map(chosen, self.selection))
        return Outcome(chosen(self.logits), selection, chosen(self.scores))


class DecodePass:
    """One new token a row through layers that store the same tokens.

    Below `prune_from` layers read all slots, from there on the selection. With a bucket of 1 exactly the filled slots
    are read; otherwise up to the next multiple, the surplus masked, so that many steps have the same shapes.
    """

    def __init__(self, buffer: KVBuffer, plan: ReadingPlan, selector: Selector | None, bucket: int) -> None:
        self.buffer, self.plan, self.selector, self.bucket = buffer, plan, selector, bucket
        device = buffer.store.device
        self.newest = torch.tensor(buffer.lengths, device=device)  # the slot that the new token takes
        self.generated = 1  # tokens that are in the buffer once the step is done
        self.scores: Tensor | None = None
        self.selection: Selection | None = None
        self.chosen: tuple[Tensor, Tensor | None] | None = None

    @property
    def extent(self) -> tuple[int, int]:
        """How many slots, and how many generated tokens, this step's shapes have room for."""
        room = self.plan.tail.shape[1] - self.plan.text_width
        end = round_up(max(self.buffer.lengths) + 1, self.bucket)
        return min(end, self.buffer.slots), min(round_up(self.generated, self.bucket), room)

    def begin(self) -> None:
        """Work out where the token goes and what may be read; nothing of it depends on the layer."""
        self.end, self.until = self.extent
        self.flat = self.newest + self.plan.offset[:, 0]
        self.mask = None
        if self.bucket > 1 or not self.buffer.even:
            self.mask = (torch.arange(self.end, device=self.flat.device) <= self.newest[:, None])[:, None, None]

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Store the new keys and values and give back what this layer reads; see `Pass.update`."""
        self.buffer.put(layer, key, value, self.flat)
        chosen = self._chosen(layer)
        return self.buffer.read(layer, self.end) if chosen is None else self.buffer.gather(layer, chosen[0])

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend from the newest token, and let the selector choose where it watches; see `Pass.attend`."""
        layer = module.layer_idx
        chosen = self._chosen(layer)
        mask = self.mask if chosen is None else chosen[1]
        out = grouped_attention(query, key, value, scaling, mask)
        if self.selector is not None and layer == self.selector.score_layer:
            self.scores = self.plan.score(attention_row(query, key, scaling, mask))
            self.selection = self.selector.select(self.scores)
            self.chosen = self.plan.slots(self.selection, self.until, self.newest)
        return out

    def _chosen(self, layer: int) -> tuple[Tensor, Tensor | None] | None:
        """Give what a pruned layer reads and its mask; None for a layer that reads all."""
        pruned = self.selector is not None and layer >= self.selector.prune_from
        return self.chosen if pruned else None

    def advance(self) -> None:
        """Count the token on the host as the step has counted it on the device."""
        self.buffer.lengths = [length + 1 for length in self.buffer.lengths]
        self.generated += 1

    def only(self, rows: list[int], index: Tensor) -> "DecodePass":
        """Give the pass that goes on with `rows` alone; `index` is the same on the device."""
        left = copy(self)
        left.buffer = self.buffer.only(rows)
        left.plan = self.plan.only(index)
        left.newest = self.newest[index]
        left.selector = self.selector and self.selector.only(index)
        return left

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the cache interface of transformers."""
        return max(self.buffer.lengths)


class SplitPass:
    """A pass of one new token a row through layers that do not all hold the same tokens: each part serves its own."""

    def __init__(self, parts: Sequence[DecodePass]) -> None:
        self.by_layer = {layer: part for part in parts for layer in part.buffer.layers}

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """See `Pass.update`."""
        return self.by_layer[layer].update(key, value, layer)

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See `Pass.attend`."""
        return self.by_layer[module.layer_idx].attend(module, query, key, value, scaling)

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the cache interface of transformers."""
        return self.by_layer[layer].get_seq_length()


class DecodeStep:
    """The step of a run, again and again: `run` is what can be captured, the rest is the host's part of it.

    parts: one pass for all layers, or several that share them out, the last of which may select; positions: (batch,)
    int64, rotary position of the first new token.
    """

    def __init__(self, model: LanguageModel, parts: Sequence[DecodePass], positions: Tensor) -> None:
        self.model, self.parts = model, list(parts)
        self.current = parts[0] if len(parts) == 1 else SplitPass(parts)
        self.positions = positions[:, None].clone()
        self.tokens = torch.zeros_like(self.positions)

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
            past_key_values=self.current,
            use_cache=True,
            dycoke=self.current,
        ).last_hidden_state
        logits: Tensor = self.model.head(hidden)[:, 0]
        for part in self.parts:
            part.newest.add_(1)
        self.positions.add_(1)
        return Outcome(logits, self.parts[-1].selection, self.parts[-1].scores)

    def advance(self) -> None:
        """Follow on the host."""
        for part in self.parts:
            part.advance()

    def __call__(self, tokens: Tensor) -> Outcome:
        """Run `tokens` (batch,) int64 as they are, without a graph."""
        self.tokens.copy_(tokens[:, None])
        outcome = self.run()
        self.advance()
        selection = outcome.selection
        if selection is not None:  # the selector goes on writing into its index
            outcome = outcome._replace(selection=selection._replace(index=selection.index.clone()))
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
