"""Qwen3-VL: the time as text before each patch of two frames; DeepStack features added in the first decoder layers.

Source: "Qwen3-VL Technical Report", arXiv 2511.21631.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dycoke_cli.models.families.family import Size
from dycoke_cli.models.families.preprocessing import Channels
from dycoke_cli.models.families.qwen_vl import AFTER, VIDEO, QwenVL, fitted

BEFORE = "<|im_start|>user\n"
HALF: Channels = (0.5, 0.5, 0.5)
LEAST, MOST = 4096, 25165824  # pixels of all frames together, as in the released checkpoints
MOST_OF_ONE = 768  # visual tokens per frame, at most


@dataclass(frozen=True)
class Qwen3VL(QwenVL):
    """A loaded Qwen3-VL model."""

    architecture: ClassVar[str] = "Qwen3VLForConditionalGeneration"
    family: ClassVar[str] = "qwen3_vl"
    mean: ClassVar[Channels] = HALF
    std: ClassVar[Channels] = HALF

    @property
    def levels(self) -> int:
        """Number of DeepStack layers of the vision tower."""
        return len(self._vision.deepstack_visual_indexes)

    def resized(self, frames: int, size: Size) -> Size:
        """Return the size of each frame: all frames within the video's limits, each within its share and own limit."""
        least, most = self.preprocessing.min_pixels or LEAST, self.preprocessing.max_pixels or MOST
        frames = max(frames, self.frames_per_patch)  # a single frame is repeated
        each = max(min(MOST_OF_ONE * self._unit**2, most // frames), int(least * 1.05))
        smaller = self._unit / min(size)
        if smaller > 1:
            size = (int(size[0] * smaller), int(size[1] * smaller))
        shown = round(frames / self.frames_per_patch) * self.frames_per_patch
        return fitted(size, self._unit, least, each * frames, frames, shown)

    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Return the prompt by the model's chat template: the mean time of a patch's first and last frame before it."""
        step = self.frames_per_patch
        parts = [seconds[start : start + step] for start in range(0, len(seconds), step)]
        times = [(part[0] + part[-1]) / 2 for part in parts]
        return BEFORE + "".join(f"<{time:.1f} seconds>{VIDEO}" for time in times) + question + AFTER
