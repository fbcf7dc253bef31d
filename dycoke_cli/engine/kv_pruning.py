"""The table of buffer slots that pruned layers read at a decode step."""

from copy import copy

import torch
from torch import Tensor

from dycoke_cli.methods.protocol import Selection


class KVPruning:
    """A slot table of fixed width for each row: selected visual tokens, all text, and generated tokens.

    visual: (tokens,) int64 per row, slots of its visual tokens; lengths: slots filled by the prompts; room: maximum
    number of generated tokens; slots: slots per row of the buffer; bucket: widths are rounded up to a multiple of it,
    so that runs of similar length have tables of the same shape.

    All values that depend on the run are tensors, which `CapturedStep.reload` replaces by another run's.
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
        self.exact = bucket == 1 and len({len(own) for own in others}) == 1  # the tail has no padding

    @property
    def width(self) -> int:
        """Visual tokens per row of scores, including padding."""
        return self.visual.shape[1]

    def score(self, row: Tensor) -> Tensor:
        """Gather the visual tokens' scores (batch, width) from attention rows (batch, read); 0 for padding."""
        exists = torch.arange(self.width, device=self.visual.device) < self.counts[:, None]
        # The scored layer may be on another device than the first layer.
        return row.to(self.visual.device).gather(1, self.visual) * exists

    def slots(self, selection: Selection, generated: int, newest: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the buffer slots to read and their mask.

        generated: number of generated tokens in the table; those after slot `newest` (batch,) int64 are masked. Returns
        (batch, chosen) int64 as `KVBuffer.gather` takes them, and (batch, 1, 1, chosen) bool, None if all are valid.
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
        """Return the table for `rows` (kept,) int64, which the buffer has moved to its front."""
        subset = copy(self)
        subset.counts, subset.visual, subset.tail = self.counts[rows], self.visual[rows], self.tail[rows]
        subset.exists, subset.offset = self.exists[rows], self.offset[: len(rows)].clone()
        return subset


def round_up(number: int, bucket: int) -> int:
    """Return `number` rounded up to a multiple of `bucket`."""
    return -(-number // bucket) * bucket


def _complement(slots: Tensor, length: int) -> Tensor:
    free = torch.ones(length, dtype=torch.bool, device=slots.device)
    free[slots] = False
    return torch.nonzero(free).squeeze(1)


def _stack(rows: list[Tensor], bucket: int) -> Tensor:
    """Stack int64 rows of different length, padded with 0; the caller masks the padding."""
    width = round_up(max(len(row) for row in rows), bucket)
    stacked = torch.zeros(len(rows), width, dtype=torch.int64, device=rows[0].device)
    for place, row in enumerate(rows):
        stacked[place, : len(row)] = row
    return stacked
