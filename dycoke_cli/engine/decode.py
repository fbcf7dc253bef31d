"""One decode step: every row reads, scores, selects and grows by one token."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row, grouped_attention
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.language_model import LanguageModel
from dycoke_cli.methods.protocol import Selection, Selector


class ReadingPlan:
    """Which slots the pruned layers read: the selected visual tokens, all text, and what was generated.

    visual: one (tokens,) int64 a row, the slots of its visual tokens; lengths: slots filled by the prompts;
    room: how many tokens may be generated.
    """

    def __init__(self, visual: list[Tensor], lengths: list[int], room: int, device: torch.device) -> None:
        self.counts = torch.tensor([len(slots) for slots in visual], device=device)
        self.visual = _stack(visual, device)
        others = [_complement(slots, length, device) for slots, length in zip(visual, lengths, strict=True)]
        prompts = torch.tensor(lengths, device=device)
        generated = prompts[:, None] + torch.arange(room, device=device)
        text = _stack(others, device)
        self.tail = torch.cat([text, generated], dim=1)
        self.text_width = text.shape[1]
        text_counts = torch.tensor([len(slots) for slots in others], device=device)
        even = len({len(slots) for slots in others}) == 1
        place = torch.arange(self.tail.shape[1], device=device)
        exists = (place < text_counts[:, None]) | (place >= self.text_width)
        self.tail_valid = None if even else exists

    def score(self, row: Tensor) -> Tensor:
        """Take the visual tokens' share (batch, tokens) out of an attention row (batch, read); 0 where none is."""
        scores = row.gather(1, self.visual)
        exists = torch.arange(scores.shape[1], device=row.device) < self.counts[:, None]
        return scores * exists

    def slots(self, selection: Selection, generated: int) -> tuple[Tensor, Tensor | None]:
        """Give the slots to read (batch, chosen) after `generated` tokens, and a mask (batch, 1, 1, chosen) or None."""
        until = self.text_width + generated
        index = torch.cat([self.visual.gather(1, selection.index), self.tail[:, :until]], dim=1)
        if selection.valid is None and self.tail_valid is None:
            return index, None
        chosen = selection.valid
        if chosen is None:
            chosen = torch.ones_like(selection.index, dtype=torch.bool)
        tail = self.tail_valid
        if tail is None:
            tail = torch.ones_like(self.tail, dtype=torch.bool)
        return index, torch.cat([chosen, tail[:, :until]], dim=1)[:, None, None]


class DecodePass:
    """A pass of one new token a row. Below `prune_from` layers read all slots, from there on the selection."""

    def __init__(self, buffer: KVBuffer, plan: ReadingPlan, selector: Selector | None, generated: int) -> None:
        self.buffer = buffer
        self.plan = plan
        self.selector = selector
        self.generated = generated
        self.starts = list(buffer.lengths)
        self.end = max(self.starts) + 1
        self.mask = None if buffer.even else self._mask()
        self.scores: Tensor | None = None  # (batch, tokens) float32
        self.selection: Selection | None = None
        self.chosen: tuple[Tensor, Tensor | None] | None = None

    def _mask(self) -> Tensor:
        device = self.buffer.store.device
        last = torch.tensor(self.starts, device=device)[:, None]
        return (torch.arange(self.end, device=device) <= last)[:, None, None]

    def update(self, key: Tensor, value: Tensor, layer: int, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Store the new keys and values and give back what this layer reads; see `Pass.update`."""
        self.buffer.write(layer, key, value, self.starts)
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
            self.chosen = self.plan.slots(self.selection, self.generated)
        return out

    def _chosen(self, layer: int) -> tuple[Tensor, Tensor | None] | None:
        """Give what a pruned layer reads and its mask; None for a layer that reads all."""
        pruned = self.selector is not None and layer >= self.selector.prune_from
        return self.chosen if pruned else None

    def get_seq_length(self, layer: int = 0) -> int:
        """Part of the cache interface of transformers."""
        return max(self.starts)


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


def decode_step(model: LanguageModel, parts: Sequence[DecodePass], tokens: Tensor, positions: Tensor) -> Tensor:
    """Run `tokens` (batch,) int64 at rotary `positions` (batch,) int64; returns logits (batch, vocabulary).

    parts: one pass for all layers, or several that share them out.
    """
    current = parts[0] if len(parts) == 1 else SplitPass(parts)
    hidden = model.body(
        input_ids=tokens[:, None],
        position_ids=positions[:, None],
        past_key_values=current,
        use_cache=True,
        dycoke=current,
    ).last_hidden_state
    for part in parts:
        part.buffer.lengths = [start + 1 for start in part.starts]
    logits: Tensor = model.head(hidden)[:, 0]
    return logits


def _complement(slots: Tensor, length: int, device: torch.device) -> Tensor:
    free = torch.ones(length, dtype=torch.bool, device=device)
    free[slots] = False
    return torch.nonzero(free).squeeze(1)


def _stack(rows: list[Tensor], device: torch.device) -> Tensor:
    """Stack int64 rows of different length; surplus places hold 0 and are masked by whoever reads them."""
    width = max(len(row) for row in rows)
    stacked = torch.zeros(len(rows), width, dtype=torch.int64, device=device)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked
