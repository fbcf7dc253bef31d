"""The visual tokens of a video, and the prompt they become part of.

Axes, as the docstrings of this project name them:

    frames   sampled frames of one video, in the order in which they are shown; where a family makes one patch of
             several (Qwen-VL: of two), these patches in time
    rows     token rows of a frame after pooling, from the top
    cols     token columns of a frame after pooling, from the left
    tokens   visual tokens that (still) exist, at most frames * rows * cols
    hidden   width of the language model
    length   prompt positions: text, visual tokens and newlines
    levels   layers of the vision tower whose features are added inside the language model (DeepStack)
    batch    prompts that run together
    slots    places of a key-value buffer; slot i holds prompt position i
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """How many visual tokens a video had before any compression."""

    frames: int
    rows: int
    cols: int

    @property
    def per_frame(self) -> int:
        return self.rows * self.cols

    @property
    def total(self) -> int:
        return self.frames * self.per_frame


@dataclass(frozen=True)
class VisualTokens:
    """The visual tokens of one video that exist at some point between the vision tower and the language model.

    A compression method takes one of these and returns another, so methods can be chained.
    """

    features: Tensor  # (tokens, hidden)
    index: Tensor  # (tokens,) int64, place in the raster of the whole video: (frame * rows + row) * cols + col
    grid: Grid
    survivor: Tensor  # (grid.total,) int64, the token that stands for each one now: itself, where it was merged, or -1
    saliency: Tensor | None = None  # (tokens,) float32, attention received in the vision tower; None: nobody asked
    deepstack: Tensor | None = None  # (tokens, levels, hidden), what the first decoder layers add; None: nothing

    @classmethod
    def whole(cls, features: Tensor, saliency: Tensor | None = None, deepstack: Tensor | None = None) -> "VisualTokens":
        """Start from uncompressed features (frames, rows, cols, hidden).

        saliency: (frames, rows, cols); deepstack: (frames, rows, cols, levels, hidden).
        """
        grid = Grid(*features.shape[:3])
        index = torch.arange(grid.total, device=features.device)
        received = None if saliency is None else saliency.flatten()
        deeper = None if deepstack is None else deepstack.flatten(0, 2)
        return cls(features.flatten(0, 2), index, grid, index, received, deeper)

    @classmethod
    def joined(cls, parts: Sequence["VisualTokens"]) -> "VisualTokens":
        """Put the tokens of successive pieces of one video together; grids may differ in frames only."""
        starts = [0, *accumulate(part.grid.total for part in parts)]
        moved = [
            (part.index + start, torch.where(part.survivor >= 0, part.survivor + start, part.survivor))
            for part, start in zip(parts, starts[:-1], strict=True)
        ]
        index, survivor = (torch.cat(tensors) for tensors in zip(*moved, strict=True))
        saliency = [part.saliency for part in parts if part.saliency is not None]
        deepstack = [part.deepstack for part in parts if part.deepstack is not None]
        return cls(
            torch.cat([part.features for part in parts]),
            index,
            parts[0].grid._replace(frames=sum(part.grid.frames for part in parts)),
            survivor,
            torch.cat(saliency) if saliency else None,
            torch.cat(deepstack) if deepstack else None,
        )

    @property
    def frame(self) -> Tensor:
        """The frame of each token: (tokens,) int64."""
        return self.index // self.grid.per_frame

    @property
    def row(self) -> Tensor:
        """The row of each token within its frame: (tokens,) int64."""
        return self.index % self.grid.per_frame // self.grid.cols

    @property
    def col(self) -> Tensor:
        """The column of each token within its row: (tokens,) int64."""
        return self.index % self.grid.cols

    def __len__(self) -> int:
        return self.index.shape[0]

    def to(self, device: torch.device | str) -> "VisualTokens":
        """Give the same tokens on another device."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        moved: dict[str, Any] = {name: value.to(device) for name, value in values if isinstance(value, Tensor)}
        return replace(self, **moved)

    def first(self, frames: int) -> "VisualTokens":
        """Give the first frames of an uncompressed video as one of their own."""
        grid = self.grid._replace(frames=min(frames, self.grid.frames))
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        cut: dict[str, Any] = {name: value[: grid.total] for name, value in values if isinstance(value, Tensor)}
        return replace(self, grid=grid, **cut)

    def by_frame(self) -> Tensor:
        """Give the features as (frames, per_frame, hidden). Raises ValueError where tokens are already missing."""
        if len(self) != self.grid.total:
            raise ValueError(f"{self.grid.total - len(self)} tokens are missing: a first stage must come first")
        return self.features.unflatten(0, (self.grid.frames, self.grid.per_frame))

    def saliency_by_frame(self) -> Tensor:
        """Give the saliency as (frames, per_frame). Raises ValueError where nobody asked for it in time."""
        if self.saliency is None:
            raise ValueError("these tokens carry no saliency: encode the video with it")
        return self.saliency.unflatten(0, (self.grid.frames, self.grid.per_frame))

    def keep(self, kept: Tensor, merged_into: Tensor | None = None) -> "VisualTokens":
        """Return the tokens at the positions `kept` (kept,) int64, in that order.

        `merged_into` (tokens,) int64 names, for every present token, the present token that stands for it from now on
        (kept ones name themselves, -1 where none does); without it the tokens that are not kept are dropped and
        nothing stands for them.
        """
        target = torch.full_like(self.index, -1)
        if merged_into is None:
            target[kept] = self.index[kept]
        else:
            target = torch.where(merged_into >= 0, self.index[merged_into.clamp(min=0)], target)
        lookup = torch.full((self.grid.total,), -1, dtype=torch.int64, device=self.index.device)
        lookup[self.index] = target
        survivor = torch.where(self.survivor >= 0, lookup[self.survivor.clamp(min=0)], self.survivor)
        return replace(
            self,
            features=self.features[kept],
            index=self.index[kept],
            survivor=survivor,
            saliency=None if self.saliency is None else self.saliency[kept],
            deepstack=None if self.deepstack is None else self.deepstack[kept],
        )

    def merge(self, kept: Tensor, merged_into: Tensor, weights: Tensor | None = None) -> "VisualTokens":
        """Return the tokens at the positions `kept`, each as the mean of all that merge into it.

        kept, merged_into: as in `keep`; merged_into may be -1 for tokens that are dropped. weights (tokens,): how much
        each counts in its mean, evenly if None; what merges with no weight at all counts evenly. A token that nothing
        merges into keeps its feature to the bit. DeepStack features merge as the features do.
        """
        joined = torch.nonzero(merged_into >= 0).squeeze(1)
        place = torch.zeros_like(merged_into).scatter_(0, kept, torch.arange(len(kept), device=kept.device))
        group = place[merged_into[joined]]
        share = torch.ones(len(joined), device=kept.device) if weights is None else weights[joined].float()
        share = torch.where(sum_by_group(share, group, len(kept))[group] > 0, share, 1.0)
        total = sum_by_group(share, group, len(kept))[:, None]
        alone = (torch.bincount(group, minlength=len(kept)) == 1)[:, None]

        def mean(values: Tensor, own: Tensor) -> Tensor:
            sums = sum_by_group(values[joined].flatten(1).float() * share[:, None], group, len(kept))
            means = (sums / total).to(values.dtype)
            return torch.where(alone, own.flatten(1), means).reshape(own.shape)

        left = self.keep(kept, merged_into)
        left = replace(left, features=mean(self.features, left.features))
        if self.deepstack is None or left.deepstack is None:
            return left
        return replace(left, deepstack=mean(self.deepstack, left.deepstack))


@dataclass(frozen=True)
class Prompt:
    """One question about one video, ready for the language model."""

    embeds: Tensor  # (length, hidden)
    positions: Tensor  # (length,) int64, rotary position of each; (length, 3) where they count frame, row and column
    visual: Tensor  # (tokens,) int64, the slots that the visual tokens take, in the order of VisualTokens
    next_position: int  # rotary position of the first new token, in every direction
    newlines: int = 0  # how many newline embeddings are in it
    deepstack: Tensor | None = None  # (tokens, levels, hidden), what the first layers add to the visual tokens

    def __len__(self) -> int:
        return self.embeds.shape[0]

    def only(self, chosen: Tensor) -> "Prompt":
        """Leave out all visual tokens but `chosen` (chosen,) int64, places in `visual`; positions keep their gaps."""
        stays = torch.ones(len(self), dtype=torch.bool, device=self.embeds.device)
        stays[self.visual] = False
        stays[self.visual[chosen]] = True
        moved = stays.cumsum(0) - 1
        return replace(
            self,
            embeds=self.embeds[stays],
            positions=self.positions[stays],
            visual=moved[self.visual[chosen]],
            deepstack=None if self.deepstack is None else self.deepstack[chosen],
        )

    def followed_by(self, embeds: Tensor) -> "Prompt":
        """Append text: embeds (new, hidden). Its rotary positions go on one by one, in every direction."""
        end = self.next_position + len(embeds)
        further = torch.arange(self.next_position, end, device=self.positions.device)
        further = further.reshape(-1, *[1] * (self.positions.dim() - 1)).expand(-1, *self.positions.shape[1:])
        return replace(
            self,
            embeds=torch.cat([self.embeds, embeds]),
            positions=torch.cat([self.positions, further]),
            next_position=end,
        )

    def split(self, at: int) -> tuple["Prompt", "Prompt"]:
        """Cut into what several questions share and what is left; `at` comes after the last visual token."""
        shared = replace(self, embeds=self.embeds[:at], positions=self.positions[:at])
        return shared, replace(self, embeds=self.embeds[at:], positions=self.positions[at:], deepstack=None)


def sum_by_group(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Add up the rows of `values` (rows, ...) that share a number of `group` (rows,) int64, below `count`.

    Returns (count, ...); a group without rows gives 0. Adding rows at an index would be shorter, but on CUDA it adds in
    whatever order threads arrive, and the same seed would no longer give the same answer.
    """
    order = group.sort(stable=True).indices
    return torch.segment_reduce(values[order], "sum", lengths=torch.bincount(group, minlength=count), axis=0)
