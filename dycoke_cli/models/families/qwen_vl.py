"""QwenVL: base class of Qwen2.5-VL and Qwen3-VL, with two-frame patches, variable frame sizes and 3-D positions.

Sources: the models' reports and transformers' processors; the limits on pixels are those of Qwen's qwen-vl-utils,
named `cap_pixels_per_frame` in transformers.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dycoke_cli.errors import ModelError, VideoError
from dycoke_cli.models.families.family import PixelArray, Size
from dycoke_cli.models.families.placeholder import PlaceholderModel
from dycoke_cli.tokens import Grid
from dycoke_cli.video.frame_buffer import Pixels

AFTER = "<|im_end|>\n<|im_start|>assistant\n"
VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
SECTIONS = (16, 24, 24)  # default mrope_section: rotary pairs of a head for time, height and width
LONGEST = 200  # largest ratio of a frame's sides


@dataclass(frozen=True)
class QwenVL(PlaceholderModel):
    """A Qwen vision-language model. The `frames` of its grid are patches of two frames; an odd last one is repeated."""

    placeholder_key: ClassVar[str] = "video_token_id"

    @classmethod
    def from_model(cls, model: Any, tokenizer: Any, folder: Path) -> Self:
        """Combine a loaded model with its folder's processor settings.

        Raises ModelError if mrope_section is not three numbers whose sum is the rotary pairs of a head.
        """
        made = super().from_model(model, tokenizer, folder)
        sections = (model.config.text_config.rope_parameters or {}).get("mrope_section", SECTIONS)
        valid = isinstance(sections, list | tuple) and all(type(pairs) is int and pairs >= 0 for pairs in sections)
        pairs = made.language_model.head_dim // 2
        if not valid or len(sections) != 3 or sum(sections) != pairs:
            raise ModelError(
                f"config.json has mrope_section={str(sections)[:80]}, not three numbers whose sum is {pairs}"
            )
        return made

    @property
    def frames_per_patch(self) -> int:
        """Sampled frames per patch in time."""
        return int(self._vision.temporal_patch_size)

    @property
    def _vision(self) -> Any:
        return self.model.config.vision_config

    @property
    def _unit(self) -> int:
        """Pixels along each side of a visual token."""
        return int(self._vision.patch_size * self._vision.spatial_merge_size)

    @abstractmethod
    def resized(self, frames: int, size: Size) -> Size:
        """Return the size to which `frames` frames of `size` are resized."""

    def grid(self, frames: int, size: Size) -> Grid:
        """Return the visual tokens of `frames` frames of a size."""
        height, width = self.resized(frames, size)
        return Grid(math.ceil(frames / self.frames_per_patch), height // self._unit, width // self._unit)

    def patches_of(self, frames: int, size: Size) -> int:
        """Return the vision tower's patches per patch in time, for `frames` frames of a size."""
        height, width = self.resized(frames, size)
        return int(height * width // self._vision.patch_size**2)

    def patches(self, frames: PixelArray, of: int) -> tuple[Tensor, Tensor]:
        """Cut some frames of a video of `of` frames into patches, in the vision tower's order.

        Returns patches (patches, values) float32, and their number in time, height and width: (1, 3) int64.
        """
        size = self.resized(of, frames.shape[1:3])
        images = self.preprocessing.prepare(frames, size, self.language_model.device)
        missing = -len(images) % self.frames_per_patch
        images = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)])
        vision = self._vision
        grid = Grid(len(images) // self.frames_per_patch, size[0] // self._unit, size[1] // self._unit)
        merge, side = vision.spatial_merge_size, vision.patch_size
        cut = images.reshape(
            grid.frames, self.frames_per_patch, 3, grid.rows, merge, side, grid.cols, merge, side
        )  # fmt: skip
        # The patches of one token are consecutive; the axes within a patch are channels, time, height, width.
        ordered = cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        counts = torch.tensor([[grid.frames, grid.rows * merge, grid.cols * merge]])
        return ordered.reshape(grid.total * merge**2, -1), counts

    def encode_chunk(self, frames: PixelArray, of: int, saliency: bool) -> tuple[Tensor, None, Tensor | None]:
        """Run the vision tower, which encodes patches in time independently; see `Family.encode_chunk`."""
        patches, counts = self.patches(frames, of)
        dtype = self.language_model.dtype
        out = self.model.model.visual(patches.to(dtype), grid_thw=counts.to(patches.device), return_dict=True)
        shape = (int(counts[0, 0]), *(int(count) // self._vision.spatial_merge_size for count in counts[0, 1:]))
        levels = getattr(out, "deepstack_features", None)
        deepstack = torch.stack(list(levels), dim=1).unflatten(0, shape) if levels else None
        return out.pooler_output.unflatten(0, shape), None, deepstack

    def rotary_positions(self, ids: Tensor, grid: Grid, frames: int, duration_s: float) -> Tensor:
        """Return the frame, row and column position of each token, computed by transformers: (length, 3)."""
        merge = self._vision.spatial_merge_size
        counts = torch.tensor([[grid.frames, grid.rows * merge, grid.cols * merge]])
        kinds = (ids == self.placeholder).int() * 2  # 2 marks video tokens in transformers
        positions, _ = self.model.model.get_rope_index(
            ids[None], mm_token_type_ids=kinds[None], video_grid_thw=counts, **self.time_inputs(frames, duration_s)
        )
        return positions[:, 0].T.contiguous()

    def time_inputs(self, frames: int, duration_s: float) -> dict[str, Tensor]:
        """Return the inputs of transformers' position numbering that depend on time."""
        return {}

    def stock_video(self, frames: PixelArray, duration_s: float) -> dict[str, Tensor]:
        """Build the video inputs of stock `generate`."""
        patches, counts = self.patches(frames, len(frames))
        return {
            "pixel_values_videos": patches.to(self.language_model.dtype),
            "video_grid_thw": counts.to(patches.device),
            **self.time_inputs(len(frames), duration_s),
        }

    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Build the arguments of transformers' own `generate`, with the types of the tokens."""
        inputs = super().stock_inputs(frames, question, seconds, duration_s)
        return {**inputs, "mm_token_type_ids": (inputs["input_ids"] == self.placeholder).int() * 2}


def fitted(size: Size, unit: int, least: int, most: int, frames: int = 1, shown: int = 1) -> Size:
    """Return the size in multiples of `unit` with about the same aspect ratio and between `least` and `most` pixels.

    frames, shown: 1 if the limits are per frame; else the video's frames before and after padding to whole patches in
    time. Raises VideoError for a ratio of sides above LONGEST.
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
