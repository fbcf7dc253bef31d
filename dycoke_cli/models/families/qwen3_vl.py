"""Qwen3-VL: each patch of two frames after its time as text; features of three depths added inside the language model.

Source: "Qwen3-VL Technical Report", arXiv 2511.21631.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dycoke_cli.models.families.family import Size
from dycoke_cli.models.families.preprocessing import Channels
from dycoke_cli.models.families.qwen_vl import VIDEO, QwenVL, fitted

BEFORE = "<|im_start|>user\n"
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
HALF: Channels = (0.5, 0.5, 0.5)
LEAST, MOST = 4096, 25165824  # pixels of all frames together, as the released checkpoints have it
MOST_OF_ONE = 768  # visual tokens' worth of pixels in a frame


@dataclass(frozen=True)
class Qwen3VL(QwenVL):
    """A loaded Qwen3-VL."""

    architecture: ClassVar[str] = "Qwen3VLForConditionalGeneration"
    family: ClassVar[str] = "qwen3_vl"
    mean: ClassVar[Channels] = HALF
    std: ClassVar[Channels] = HALF

    @property
    def levels(self) -> int:
        """How many layers of the vision tower give features of their own."""
        return len(self._vision.deepstack_visual_indexes)

    def resized(self, frames: int, size: Size) -> Size:
        """Keep all frames together within limits, and each within its even share or what one frame may have."""
        least, most = self.pictures.least or LEAST, self.pictures.most or MOST
        frames = max(frames, self.frames_per_patch)  # a single one is doubled
        each = max(min(MOST_OF_ONE * self._unit**2, most // frames), int(least * 1.05))
        smaller = self._unit / min(size)
        if smaller > 1:
            size = (int(size[0] * smaller), int(size[1] * smaller))
        shown = round(frames / self.frames_per_patch) * self.frames_per_patch
        return fitted(size, self._unit, least, each * frames, frames, shown)

    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Write the prompt of the model's chat template: each patch after the mean time of its first and last frame."""
        step = self.frames_per_patch
        parts = [seconds[start : start + step] for start in range(0, len(seconds), step)]
        times = [(part[0] + part[-1]) / 2 for part in parts]
        return BEFORE + "".join(f"<{time:.1f} seconds>{VIDEO}" for time in times) + question + AFTER
