"""The visual tokens of a video, the prompt that contains them, and the names of tensor axes.

Axes, as all docstrings name them:

    frames   sampled frames of one video, in time order; temporal patches where a family merges several frames into one
             (Qwen-VL: two)
    rows     token rows of a frame after pooling, top to bottom
    cols     token columns of a frame after pooling, left to right
    tokens   remaining visual tokens, at most frames * rows * cols
    hidden   width of the language model
    length   prompt positions: text, visual tokens and newlines
    levels   layers of the vision tower whose features are added inside the language model (DeepStack)
    batch    prompts that run together
    slots    positions in a key-value buffer; slot i holds prompt position i
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """Shape of a video's visual tokens before compression."""

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
    """The remaining visual tokens of one video, between the vision tower and the language model.

    A compression method maps one instance to another, so methods can be chained.
    """

    features: Tensor  # (tokens, hidden)
    index: Tensor  # (tokens,) int64, raster index in the whole video: (frame * rows + row) * cols + col
    grid: Grid
    survivor: Tensor  # (grid.total,) int64, index of the token each one merged into, its own if kept, -1 if dropped
    saliency: Tensor | None = None  # (tokens,) float32, attention received in the vision tower; None: not computed
    deepstack: Tensor | None = None  # (tokens, levels, hidden), added by the first decoder layers; None: nothing added

    @classmethod
    def uncompressed(
        cls, features: Tensor, saliency: Tensor | None = None, deepstack: Tensor | None = None
    ) -> "VisualTokens":
        """Wrap uncompressed features (frames, rows, cols, hidden).

        saliency: (frames, rows, cols); deepstack: (frames, rows, cols, levels, hidden).
        """
        grid = Grid(*features.shape[:3])
        index = torch.arange(grid.total, device=features.device)
        flat_saliency = None if saliency is None else saliency.flatten()
        flat_deepstack = None if deepstack is None else deepstack.flatten(0, 2)
        return cls(features.flatten(0, 2), index, grid, index, flat_saliency, flat_deepstack)

    @classmethod
    def concatenate(cls, parts: Sequence["VisualTokens"]) -> "VisualTokens":
        """Concatenate successive parts of one video; their grids may differ in frames only."""
        starts = [0, *accumulate(part.grid.total for part in parts)]
        shifted = [
            (part.index + start, torch.where(part.survivor >= 0, part.survivor + start, part.survivor))
            for part, start in zip(parts, starts[:-1], strict=True)
        ]
        index, survivor = (torch.cat(tensors) for tensors in zip(*shifted, strict=True))
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
        """Frame number of each token: (tokens,) int64."""
        return self.index // self.grid.per_frame

    @property
    def row(self) -> Tensor:
        """Row of each token within its frame: (tokens,) int64."""
        return self.index % self.grid.per_frame // self.grid.cols

    @property
    def col(self) -> Tensor:
        """Column of each token within its frame: (tokens,) int64."""
        return self.index % self.grid.cols

    def __len__(self) -> int:
        return self.index.shape[0]

    def to(self, device: torch.device | str) -> "VisualTokens":
        """Return the same tokens on another device."""
        return self._converted(lambda tensor: tensor.to(device))

    def first(self, frames: int) -> "VisualTokens":
        """Return the first `frames` frames of an uncompressed video."""
        grid = self.grid._replace(frames=min(frames, self.grid.frames))
        return replace(self._converted(lambda tensor: tensor[: grid.total]), grid=grid)

    def _converted(self, convert: Callable[[Tensor], Tensor]) -> "VisualTokens":
        values = vars(self).items()
        changes: dict[str, Any] = {name: convert(value) for name, value in values if isinstance(value, Tensor)}
        return replace(self, **changes)

    def by_frame(self) -> Tensor:
        """Return the features as (frames, per_frame, hidden). Raise ValueError if tokens were removed before."""
        if len(self) != self.grid.total:
            raise ValueError(f"{self.grid.total - len(self)} tokens are missing: this method needs uncompressed tokens")
        return self.features.unflatten(0, (self.grid.frames, self.grid.per_frame))

    def saliency_by_frame(self) -> Tensor:
        """Return the saliency as (frames, per_frame). Raise ValueError if it was not computed."""
        if self.saliency is None:
            raise ValueError("these tokens have no saliency: encode the video with saliency=True")
        return self.saliency.unflatten(0, (self.grid.frames, self.grid.per_frame))

    def keep(self, kept: Tensor, merged_into: Tensor | None = None) -> "VisualTokens":
        """Return the tokens at the positions `kept` (kept,) int64, in that order.

        merged_into: (tokens,) int64, for every token the position of the one it merges into (its own if kept, -1 if
        dropped). None: all tokens that are not kept are dropped. Only `survivor` records it; features do not change.
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
        """Return the tokens at the positions `kept`, each with the weighted mean of all tokens that merge into it.

        kept, merged_into: as in `keep`. weights: (tokens,), weight of each token in its mean; None, or weights that
        sum to 0 within a group: equal weights. A token that nothing merges into keeps its exact feature. DeepStack
        features merge in the same way.
        """
        sources = torch.nonzero(merged_into >= 0).squeeze(1)
        position = torch.zeros_like(merged_into).scatter_(0, kept, torch.arange(len(kept), device=kept.device))
        group = position[merged_into[sources]]
        weight = torch.ones(len(sources), device=kept.device) if weights is None else weights[sources].float()
        weight = torch.where(sum_by_group(weight, group, len(kept))[group] > 0, weight, 1.0)
        total = sum_by_group(weight, group, len(kept))[:, None]
        unmerged = (torch.bincount(group, minlength=len(kept)) == 1)[:, None]

        def mean(values: Tensor, own: Tensor) -> Tensor:
            sums = sum_by_group(values[sources].flatten(1).float() * weight[:, None], group, len(kept))
            means = (sums / total).to(values.dtype)
            return torch.where(unmerged, own.flatten(1), means).reshape(own.shape)

        merged = self.keep(kept, merged_into)
        merged = replace(merged, features=mean(self.features, merged.features))
        if self.deepstack is None or merged.deepstack is None:
            return merged
        return replace(merged, deepstack=mean(self.deepstack, merged.deepstack))


@dataclass(frozen=True)
class Prompt:
    """One question about one video, as input embeddings of the language model."""

    embeds: Tensor  # (length, hidden)
    positions: Tensor  # (length,) int64 rotary positions; (length, 3) in families that count frame, row and column
    visual: Tensor  # (tokens,) int64, slots of the visual tokens, in the order of VisualTokens
    next_position: int  # rotary position of the first generated token, the same in all three components
    newlines: int = 0  # number of newline embeddings among `embeds`
    deepstack: Tensor | None = None  # (tokens, levels, hidden), added to the visual tokens by the first layers

    def __len__(self) -> int:
        return self.embeds.shape[0]

    def only(self, chosen: Tensor) -> "Prompt":
        """Keep only the visual tokens `chosen` (chosen,) int64, indices into `visual`; rotary positions keep gaps."""
        remaining = torch.ones(len(self), dtype=torch.bool, device=self.embeds.device)
        remaining[self.visual] = False
        remaining[self.visual[chosen]] = True
        new_slot = remaining.cumsum(0) - 1
        return replace(
            self,
            embeds=self.embeds[remaining],
            positions=self.positions[remaining],
            visual=new_slot[self.visual[chosen]],
            deepstack=None if self.deepstack is None else self.deepstack[chosen],
        )

    def append_text(self, embeds: Tensor) -> "Prompt":
        """Append text `embeds` (new, hidden), with consecutive rotary positions from `next_position` on."""
        end = self.next_position + len(embeds)
        appended = torch.arange(self.next_position, end, device=self.positions.device)
        appended = appended.reshape(-1, *[1] * (self.positions.dim() - 1)).expand(-1, *self.positions.shape[1:])
        return replace(
            self,
            embeds=torch.cat([self.embeds, embeds]),
            positions=torch.cat([self.positions, appended]),
            next_position=end,
        )

    def split(self, at: int) -> tuple["Prompt", "Prompt"]:
        """Split at slot `at`, which follows the last visual token: the shared prefix, and the rest of this question."""
        shared = replace(self, embeds=self.embeds[:at], positions=self.positions[:at])
        return shared, replace(self, embeds=self.embeds[at:], positions=self.positions[at:], deepstack=None)


def sum_by_group(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Sum the rows of `values` (n, ...) that have the same number in `group` (n,) int64, each below `count`.

    Returns (count, ...), 0 for a group without rows. The sum is deterministic. `index_add_` is not: on CUDA it adds in
    the order in which threads arrive, so that the same seed would not reproduce an answer.
    """
    order = group.sort(stable=True).indices
    return torch.segment_reduce(values[order], "sum", lengths=torch.bincount(group, minlength=count), axis=0)
