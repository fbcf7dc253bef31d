"""Which slots of the buffer the pruned layers read."""

from copy import copy

import torch
from torch import Tensor

from dycoke_cli.methods.protocol import Selection


class KVPruning:
    """The selected visual tokens, all text, and what was generated: a table of slots of fixed width.

    visual: one (tokens,) int64 a row, the slots of its visual tokens; lengths: slots filled by the prompts;
    room: how many tokens may be generated; slots: how many a row of the buffer has; bucket: widths are rounded up to a
    multiple of it, so that runs of nearly the same length have tables of the same shape.

    What depends on the run lies in tensors: `reload` makes a captured step read another run's.
    """

    def __init__(self, visual: list[Tensor], lengths: list[int], room: int, slots: int, bucket: int) -> None:
        device = visual[0].device
        self.counts = torch.tensor([len(own) for own in visual], device=device)
        self.visual = _stack(visual, bucket)
        others = [_complement(own, length) for own, length in zip(visual, lengths, strict=True)]
        text = _stack(others, bucket)
        self.text_width = text.shape[1]
        generated = torch.tensor(lengths, device=device)[:, None] + torch.arange(room, device=device)
        self.tail = torch.cat([text, generated], dim=1)
        text_counts = torch.tensor([len(own) for own in others], device=device)
        place = torch.arange(self.tail.shape[1], device=device)
        self.exists = (place < text_counts[:, None]) | (place >= self.text_width)
        self.offset = torch.arange(len(visual), device=device)[:, None] * slots
        self.exact = bucket == 1 and len({len(own) for own in others}) == 1  # every place of the tail holds something

    @property
    def width(self) -> int:
        """Places for visual tokens in a row of scores."""
        return self.visual.shape[1]

    def score(self, row: Tensor) -> Tensor:
        """Take the visual tokens' share (batch, width) out of an attention row (batch, read); 0 where none is."""
        exists = torch.arange(self.width, device=self.visual.device) < self.counts[:, None]
        # The layer that is watched may lie on another device than the first.
        return row.to(self.visual.device).gather(1, self.visual) * exists

    def slots(self, selection: Selection, generated: int, newest: Tensor) -> tuple[Tensor, Tensor | None]:
        """Give the places to read and a mask (batch, 1, 1, chosen), or None where all of them count.

        generated: how many generated tokens the table has room for; those after the slot `newest` (batch,) int64 do
        not count. Returns places (batch, chosen) int64 as `KVBuffer.gather` takes them.
        """
        until = self.text_width + generated
        tail, exists = self.tail[:, :until], self.exists[:, :until]
        flat = torch.cat([self.visual.gather(1, selection.index), tail], dim=1) + self.offset
        if self.exact and selection.valid is None:
            return flat, None
        chosen = selection.valid
        if chosen is None:
            chosen = torch.ones_like(selection.index, dtype=torch.bool)
        return flat, torch.cat([chosen, exists & (tail <= newest[:, None])], dim=1)[:, None, None]

    def only(self, rows: Tensor) -> "KVPruning":
        """Give the plan for `rows` (kept,) int64 alone, which the buffer has moved to its front."""
        left = copy(self)
        left.counts, left.visual, left.tail = self.counts[rows], self.visual[rows], self.tail[rows]
        left.exists, left.offset = self.exists[rows], self.offset[: len(rows)].clone()
        return left


def round_up(number: int, bucket: int) -> int:
    """Give the smallest multiple of `bucket` that is not below `number`."""
    return -(-number // bucket) * bucket


def _complement(slots: Tensor, length: int) -> Tensor:
    free = torch.ones(length, dtype=torch.bool, device=slots.device)
    free[slots] = False
    return torch.nonzero(free).squeeze(1)


def _stack(rows: list[Tensor], bucket: int) -> Tensor:
    """Stack int64 rows of different length; surplus places hold 0 and are masked by whoever reads them."""
    width = round_up(max(len(row) for row in rows), bucket)
    stacked = torch.zeros(len(rows), width, dtype=torch.int64, device=rows[0].device)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked
