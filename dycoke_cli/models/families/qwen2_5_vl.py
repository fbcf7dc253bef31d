"""Qwen2.5-VL: one run of visual tokens, with time positions in proportion to seconds.

Source: Bai et al., "Qwen2.5-VL Technical Report", arXiv 2502.13923.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dycoke_cli.models.families.family import Size
from dycoke_cli.models.families.preprocessing import CLIP_MEAN, CLIP_STD, Channels
from dycoke_cli.models.families.qwen_vl import AFTER, VIDEO, QwenVL, fitted

BEFORE = f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{VIDEO}"
LEAST, MOST = 128, 768  # visual tokens per frame
ALL = 128000 * 0.9  # visual tokens of all frames, at most: 90% of the model's context


@dataclass(frozen=True)
class Qwen25VL(QwenVL):
    """A loaded Qwen2.5-VL model."""

    architecture: ClassVar[str] = "Qwen2_5_VLForConditionalGeneration"
    family: ClassVar[str] = "qwen2_5_vl"
    mean: ClassVar[Channels] = CLIP_MEAN
    std: ClassVar[Channels] = CLIP_STD

    def resized(self, frames: int, size: Size) -> Size:
        """Return the size of each frame: each within its limits, all together within the limit on the context."""
        token = self._unit**2
        least, most = self.preprocessing.min_pixels or LEAST * token, self.preprocessing.max_pixels or MOST * token
        share = int(ALL * token) * self.frames_per_patch // frames
        return fitted(size, self._unit, least, max(min(most, share), int(least * 1.05)))

    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Return the prompt by the model's chat template."""
        return BEFORE + question + AFTER

    def time_inputs(self, frames: int, duration_s: float) -> dict[str, Tensor]:
        """Return the seconds per patch of two frames."""
        return {"second_per_grid_ts": torch.tensor([self.frames_per_patch * duration_s / frames])}
