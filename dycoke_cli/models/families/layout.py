"""The layout of a video in a LLaVA prompt: pooling of frames and newline embeddings."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.tokens import Grid, VisualTokens

Newline = Literal["one_token", "grid", "frame", "no_token"]
Pooling = Literal["bilinear", "average", "max"]
RowNewlines = Literal["complete", "present", "all"]


class Block(NamedTuple):
    """The visual part of a prompt: visual tokens and newlines in order."""

    embeds: Tensor  # (length, hidden)
    places: Tensor  # (length,) int64, the index of each in the uncompressed block
    visual: Tensor  # (tokens,) int64, the index of each visual token in this block


@dataclass(frozen=True)
class VideoLayout:
    """The settings of a LLaVA video model that a transformers configuration does not contain.

    newline: the place of the newline embedding: once at the end ("one_token"), after every row ("grid"), after every
        frame, or nowhere.
    pooling: how the vision tower's patches are reduced by two in each direction.
    row_newlines: with "grid", which rows of a compressed video keep their newline: those with all their tokens
        ("complete"), those with any token ("present"), or all. LLaVA was trained with newlines after complete rows, so
        by default an incomplete row has none.
    time_instruction: put the duration and the time of each frame into the prompt, as LLaVA-Video was trained.
    """

    newline: Newline = "one_token"
    pooling: Pooling = "bilinear"
    row_newlines: RowNewlines = "complete"
    time_instruction: bool = False

    def pooled(self, rows: int, cols: int) -> tuple[int, int]:
        """Return the rows and columns after `pool`.

        Bilinear rounds odd sizes up, as the models' original code does; average and max round down.
        """
        up = 1 if self.pooling == "bilinear" else 0
        return (rows + up) // 2, (cols + up) // 2

    def pool(self, features: Tensor) -> Tensor:
        """Pool (frames, rows, cols, hidden) to half the rows and columns, in the same dtype; sums are in float32."""
        # A view of torch's channels-last format, whose kernels run over all outputs. CUDA's bilinear kernel for
        # contiguous channels has one thread for each position in a frame, which loops over frames and channels.
        x = features.permute(0, 3, 1, 2)
        if self.pooling == "bilinear":
            x = F.interpolate(x, size=self.pooled(*x.shape[2:]), mode="bilinear")
        else:
            x = F.avg_pool2d(x, 2) if self.pooling == "average" else F.max_pool2d(x, 2)
        return x.permute(0, 2, 3, 1)

    def length(self, grid: Grid) -> int:
        """Return the prompt positions of an uncompressed video, newlines included."""
        newlines = {"one_token": 1, "grid": grid.frames * grid.rows, "frame": grid.frames, "no_token": 0}
        return grid.total + newlines[self.newline]

    def compressed_length(self, tokens: VisualTokens) -> int:
        """Return the prompt positions of the remaining tokens and newlines."""
        return sum(map(len, self._places(tokens)))

    def arrange(self, tokens: VisualTokens, newline: Tensor) -> Block:
        """Insert the newline embedding (hidden,) between the remaining tokens."""
        at, ends = self._places(tokens)
        embeds = torch.cat([tokens.features, newline.to(tokens.features).expand(len(ends), -1)])
        places = torch.cat([at, ends])
        number = torch.arange(len(places), device=places.device)
        # Newlines between tokens require sorting; otherwise tokens out of raster order keep their order.
        if self.newline not in ("grid", "frame"):
            return Block(embeds, places, number[: len(tokens)])
        places, order = places.sort()
        visual = torch.empty_like(order).scatter_(0, order, number)
        return Block(embeds[order], places, visual[: len(tokens)])

    def _places(self, tokens: VisualTokens) -> tuple[Tensor, Tensor]:
        """Return the indices of the remaining tokens and newlines in the uncompressed block: (tokens,), (newlines,)."""
        grid = tokens.grid
        if self.newline in ("one_token", "no_token"):
            return tokens.index, tokens.index.new_full((self.length(grid) - grid.total,), grid.total)
        # A line is a row or a frame: the tokens before a newline.
        width, needed = grid.per_frame, 1
        if self.newline == "grid":
            width, needed = grid.cols, {"complete": grid.cols, "present": 1, "all": 0}[self.row_newlines]
        line = tokens.index // width
        ends = torch.arange(width, self.length(grid), width + 1, device=line.device)
        if needed and len(tokens) < grid.total:
            present = torch.zeros_like(ends).scatter_add_(0, line, torch.ones_like(line))
            ends = ends[present >= needed]  # the host waits for the device here, as the number depends on the tokens
        return tokens.index + line, ends
