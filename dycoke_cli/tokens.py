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

from dataclasses import dataclass, replace
from typing import NamedTuple

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

    @classmethod
    def whole(cls, features: Tensor) -> "VisualTokens":
        """Start from uncompressed features (frames, rows, cols, hidden)."""
        grid = Grid(*features.shape[:3])
        index = torch.arange(grid.total, device=features.device)
        return cls(features.flatten(0, 2), index, grid, index)

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

    def keep(self, kept: Tensor, merged_into: Tensor | None = None) -> "VisualTokens":
        """Return the tokens at the positions `kept` (kept,) int64, in that order.

        `merged_into` (tokens,) int64 names, for every present token, the present token that stands for it from now on
        (kept ones name themselves); without it the tokens that are not kept are dropped and nothing stands for them.
        """
        target = torch.full_like(self.index, -1)
        if merged_into is None:
            target[kept] = self.index[kept]
        else:
            target = self.index[merged_into]
        lookup = torch.full((self.grid.total,), -1, dtype=torch.int64, device=self.index.device)
        lookup[self.index] = target
        survivor = torch.where(self.survivor >= 0, lookup[self.survivor.clamp(min=0)], self.survivor)
        return replace(self, features=self.features[kept], index=self.index[kept], survivor=survivor)


@dataclass(frozen=True)
class Prompt:
    """One question about one video, ready for the language model."""

    embeds: Tensor  # (length, hidden)
    positions: Tensor  # (length,) int64, rotary position of each
    visual: Tensor  # (tokens,) int64, the slots that the visual tokens take, in the order of VisualTokens
    newlines: int = 0  # how many newline embeddings are in it

    def __len__(self) -> int:
        return self.embeds.shape[0]

    def split(self, at: int) -> tuple["Prompt", "Prompt"]:
        """Cut into what several questions share and what is left; `at` comes after the last visual token."""
        shared = replace(self, embeds=self.embeds[:at], positions=self.positions[:at])
        return shared, replace(self, embeds=self.embeds[at:], positions=self.positions[at:])
