"""The visual tokens of a video, and the prompt they become part of.

Axes, as the docstrings of this project name them:

    frames   sampled frames of one video, in the order in which they are shown
    rows     token rows of a frame after pooling, from the top
    cols     token columns of a frame after pooling, from the left
    tokens   visual tokens that (still) exist, at most frames * rows * cols
    hidden   width of the language model
    length   prompt positions: text, visual tokens and newlines
    batch    prompts that run together
    slots    places of a key-value buffer; slot i holds prompt position i
"""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dycoke_cli.groups import sum_by_group


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

    @classmethod
    def whole(cls, features: Tensor, saliency: Tensor | None = None) -> "VisualTokens":
        """Start from uncompressed features (frames, rows, cols, hidden); saliency: (frames, rows, cols)."""
        grid = Grid(*features.shape[:3])
        index = torch.arange(grid.total, device=features.device)
        return cls(features.flatten(0, 2), index, grid, index, None if saliency is None else saliency.flatten())

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
        saliency = None if self.saliency is None else self.saliency[kept]
        return replace(self, features=self.features[kept], index=self.index[kept], survivor=survivor, saliency=saliency)

    def merge(self, kept: Tensor, merged_into: Tensor, weights: Tensor | None = None) -> "VisualTokens":
        """Return the tokens at the positions `kept`, each as the mean of all that merge into it.

        kept, merged_into: as in `keep`; merged_into may be -1 for tokens that are dropped. weights (tokens,): how much
        each counts in its mean, evenly if None; what merges with no weight at all counts evenly. A token that nothing
        merges into keeps its feature to the bit.
        """
        joined = torch.nonzero(merged_into >= 0).squeeze(1)
        place = torch.zeros_like(merged_into).scatter_(0, kept, torch.arange(len(kept), device=kept.device))
        group = place[merged_into[joined]]
        share = torch.ones(len(joined), device=kept.device) if weights is None else weights[joined].float()
        share = torch.where(sum_by_group(share, group, len(kept))[group] > 0, share, 1.0)
        sums = sum_by_group(self.features[joined].float() * share[:, None], group, len(kept))
        means = (sums / sum_by_group(share, group, len(kept))[:, None]).to(self.features.dtype)
        alone = torch.bincount(group, minlength=len(kept)) == 1
        left = self.keep(kept, merged_into)
        return replace(left, features=torch.where(alone[:, None], left.features, means))


@dataclass(frozen=True)
class Prompt:
    """One question about one video, ready for the language model."""

    embeds: Tensor  # (length, hidden)
    positions: Tensor  # (length,) int64, rotary position of each
    visual: Tensor  # (tokens,) int64, the slots that the visual tokens take, in the order of VisualTokens
    newlines: int = 0  # how many newline embeddings are in it

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
        )

    def followed_by(self, embeds: Tensor) -> "Prompt":
        """Append text: embeds (new, hidden). Its rotary positions go on from the last one by one."""
        further = torch.arange(1, len(embeds) + 1, device=self.positions.device)
        last = self.positions[-1:]
        positions = torch.cat([self.positions, last + further.reshape(-1, *[1] * (last.dim() - 1))])
        return replace(self, embeds=torch.cat([self.embeds, embeds]), positions=positions)

    def split(self, at: int) -> tuple["Prompt", "Prompt"]:
        """Cut into what several questions share and what is left; `at` comes after the last visual token."""
        shared = replace(self, embeds=self.embeds[:at], positions=self.positions[:at])
        return shared, replace(self, embeds=self.embeds[at:], positions=self.positions[at:])
