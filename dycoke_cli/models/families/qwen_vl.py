"""What Qwen2.5-VL and Qwen3-VL share: two frames a patch, sizes that follow the frames, positions in three directions.

Sources: the models' reports and transformers' processors; the limits on pixels are those of Qwen's own qwen-vl-utils,
which transformers calls `cap_pixels_per_frame`.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from dycoke_cli.errors import ModelError, VideoError
from dycoke_cli.models.families.family import Pictures, Size
from dycoke_cli.models.families.placeholder import PlaceholderModel
from dycoke_cli.tokens import Grid
from dycoke_cli.video.frame_buffer import Pixels

VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
SECTIONS = (16, 24, 24)  # pairs of a head's numbers that turn with time, height and width, where config.json says none
LONGEST = 200  # times as long as wide, at most


@dataclass(frozen=True)
class QwenVL(PlaceholderModel):
    """A Qwen vision-language model. The `frames` of its grid are patches of two frames; an odd last one is doubled."""

    @classmethod
    def opened(cls, model: Any, tokenizer: Any, folder: Path) -> Self:
        """Join a loaded model with what its folder says about frames.

        Raises ModelError where positions in three directions do not fill the heads.
        """
        made = super().opened(model, tokenizer, folder)
        sections = (model.config.text_config.rope_parameters or {}).get("mrope_section", SECTIONS)
        whole = isinstance(sections, list | tuple) and all(type(pairs) is int and pairs >= 0 for pairs in sections)
        pairs = made.language_model.head_dim // 2
        if not whole or len(sections) != 3 or sum(sections) != pairs:
            raise ModelError(
                f"config.json has mrope_section={str(sections)[:80]}, and heads of {pairs} pairs of numbers"
            )
        return made

    @property
    def placeholder(self) -> int:
        """The token id that stands for visual tokens."""
        return int(self.model.config.video_token_id)

    @property
    def frames_per_patch(self) -> int:
        """Frames that share their tokens."""
        return int(self._vision.temporal_patch_size)

    @property
    def _vision(self) -> Any:
        return self.model.config.vision_config

    @property
    def _unit(self) -> int:
        """Pictures along each side of a visual token."""
        return int(self._vision.patch_size * self._vision.spatial_merge_size)

    @abstractmethod
    def resized(self, frames: int, size: Size) -> Size:
        """Say what size frames of `size` are given, when there are so many."""

    def grid(self, frames: int, size: Size) -> Grid:
        """Say how many visual tokens so many frames of this size become."""
        height, width = self.resized(frames, size)
        return Grid(math.ceil(frames / self.frames_per_patch), height // self._unit, width // self._unit)

    def patches_of(self, frames: int, size: Size) -> int:
        """Say into how many patches the vision tower cuts what is made of two frames."""
        height, width = self.resized(frames, size)
        return int(height * width // self._vision.patch_size**2)

    def patches(self, frames: Pictures, of: int) -> tuple[Tensor, Tensor]:
        """Cut some frames of a video of `of` frames into patches in the vision tower's order.

        Returns (patches, values of one) float32, and their number in time, height and width: (1, 3) int64.
        """
        size = self.resized(of, frames.shape[1:3])
        images = self.pictures.prepare(frames, size, self.language_model.device)
        missing = -len(images) % self.frames_per_patch
        images = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)])
        vision = self._vision
        grid = Grid(len(images) // self.frames_per_patch, size[0] // self._unit, size[1] // self._unit)
        merge, side = vision.spatial_merge_size, vision.patch_size
        cut = images.reshape(
            grid.frames, self.frames_per_patch, 3, grid.rows, merge, side, grid.cols, merge, side
        )  # fmt: skip
        # The patches that merge into one token follow one another; within a patch come channels, then time.
        ordered = cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        counts = torch.tensor([[grid.frames, grid.rows * merge, grid.cols * merge]])
        return ordered.reshape(grid.total * merge**2, -1), counts

    def features(self, frames: Pictures, of: int) -> tuple[Tensor, Tensor | None]:
        """Run the vision tower, where no patch in time sees another; see `PlaceholderModel.features`."""
        patches, counts = self.patches(frames, of)
        dtype = self.language_model.dtype
        out = self.model.model.visual(patches.to(dtype), grid_thw=counts.to(patches.device), return_dict=True)
        shape = (int(counts[0, 0]), *(int(count) // self._vision.spatial_merge_size for count in counts[0, 1:]))
        levels = getattr(out, "deepstack_features", None)
        deeper = torch.stack(list(levels), dim=1).unflatten(0, shape) if levels else None
        return out.pooler_output.unflatten(0, shape), deeper

    def numbers(self, ids: Tensor, grid: Grid, frames: int, duration_s: float) -> Tensor:
        """Let transformers number frame, row and column of each position: (length, 3)."""
        merge = self._vision.spatial_merge_size
        counts = torch.tensor([[grid.frames, grid.rows * merge, grid.cols * merge]])
        kinds = (ids == self.placeholder).int() * 2  # as transformers marks videos
        positions: Tensor = self.model.model.get_rope_index(
            ids[None], mm_token_type_ids=kinds[None], video_grid_thw=counts, **self.timing(frames, duration_s)
        )[0]
        return positions[:, 0].T.contiguous()

    def timing(self, frames: int, duration_s: float) -> dict[str, Tensor]:
        """Give what positions need to know about time, as transformers takes it."""
        return {}

    def stock_video(self, frames: Pictures, duration_s: float) -> dict[str, Tensor]:
        """Make the inputs of stock `generate` besides token ids."""
        patches, counts = self.patches(frames, len(frames))
        return {
            "pixel_values_videos": patches.to(self.language_model.dtype),
            "video_grid_thw": counts.to(patches.device),
            **self.timing(len(frames), duration_s),
        }

    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Make what transformers' own `generate` takes; it wants to be told which tokens are of a video."""
        inputs = super().stock_inputs(frames, question, seconds, duration_s)
        return {**inputs, "mm_token_type_ids": (inputs["input_ids"] == self.placeholder).int() * 2}


def fitted(size: Size, unit: int, least: int, most: int, frames: int = 1, shown: int = 1) -> Size:
    """Find the size in whole `unit`s with about the same shape and between `least` and `most` pixels.

    frames, shown: where pixels of a whole video count, its frames as given and as the vision tower takes them.
    Raises VideoError for frames too long for their width.
    """
    height, width = size
    if max(size) > LONGEST * min(size):
        raise VideoError(
            f"frames of {width} x {height} pixels are more than {LONGEST} times as long as wide",
            "Crop the video, or use a LLaVA model, which takes any shape",
        )
    rows, cols = round(height / unit), round(width / unit)
    area = frames * height * width
    if shown * rows * cols * unit**2 > most:
        scale = math.sqrt(area / most) * unit
        rows, cols = max(1, math.floor(height / scale)), max(1, math.floor(width / scale))
    elif shown * rows * cols * unit**2 < least:
        scale = math.sqrt(least / area) / unit
        rows, cols = math.ceil(height * scale), math.ceil(width * scale)
    return rows * unit, cols * unit
