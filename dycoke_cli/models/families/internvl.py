"""InternVL3 in the transformers format: frames resized to a square, with "FrameN:" before each one's visual tokens.

Source: Zhu et al., "InternVL3", arXiv 2504.10479.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dycoke_cli.models.families.family import PixelArray, Size
from dycoke_cli.models.families.placeholder import PlaceholderModel
from dycoke_cli.models.families.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Channels
from dycoke_cli.tokens import Grid

BEFORE = "<|im_start|>user\n"
AFTER = "\n{question}<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class InternVL(PlaceholderModel):
    """A loaded InternVL3 model."""

    architecture: ClassVar[str] = "InternVLForConditionalGeneration"
    family: ClassVar[str] = "internvl"
    placeholder_key: ClassVar[str] = "image_token_id"
    mean: ClassVar[Channels] = IMAGENET_MEAN
    std: ClassVar[Channels] = IMAGENET_STD

    def grid(self, frames: int, size: Size) -> Grid:
        """Return the visual tokens of `frames` frames, the same for every frame size."""
        config = self.model.config
        rows, cols = (
            int(side // patch * config.downsample_ratio)
            for side, patch in zip(config.vision_config.image_size, config.vision_config.patch_size, strict=True)
        )
        return Grid(frames, rows, cols)

    def patches_of(self, frames: int, size: Size) -> int:
        """Return the vision tower's patches per frame, the same for every frame size."""
        vision = self.model.config.vision_config
        rows, cols = (side // patch for side, patch in zip(vision.image_size, vision.patch_size, strict=True))
        return int(rows * cols)

    def pixels(self, frames: PixelArray) -> Tensor:
        """Resize and normalise as the model's processor does, without keeping the aspect ratio.

        Returns (frames, 3, height, width), the model's dtype.
        """
        height, width = self.model.config.vision_config.image_size
        model = self.language_model
        return self.preprocessing.prepare(frames, (height, width), model.device).to(model.dtype)

    def encode_chunk(self, frames: PixelArray, of: int, saliency: bool) -> tuple[Tensor, None, None]:
        """Run vision tower, pixel shuffle and projector; see `Family.encode_chunk`."""
        features = self.model.model.get_image_features(self.pixels(frames), return_dict=True).pooler_output
        return features.unflatten(1, self.grid(len(frames), frames.shape[1:3])[1:]), None, None

    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Return the prompt by the model's chat template."""
        placeholder = self.tokenizer.convert_ids_to_tokens(self.placeholder)
        frames = (f"Frame{number + 1}: <img>{placeholder}</img>" for number in range(len(seconds)))
        return BEFORE + "\n".join(frames) + AFTER.replace("{question}", question)

    def stock_video(self, frames: PixelArray, duration_s: float) -> dict[str, Tensor]:
        """Build the video inputs of stock `generate`, which takes frames as images."""
        return {"pixel_values": self.pixels(frames)}
