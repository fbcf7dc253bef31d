"""LLaVA-NeXT-Video: CLIP features pooled by two in each direction, in one run of visual tokens without newlines.

Source: Zhang et al., "LLaVA-NeXT: A Strong Zero-shot Video Understanding Model", 2024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from dycoke_cli.errors import ModelError
from dycoke_cli.models.families.family import PixelArray, Size
from dycoke_cli.models.families.placeholder import PlaceholderModel
from dycoke_cli.models.families.preprocessing import CLIP_MEAN, CLIP_STD, Channels
from dycoke_cli.tokens import Grid


@dataclass(frozen=True)
class LlavaNextVideo(PlaceholderModel):
    """A loaded LLaVA-NeXT-Video model with a Vicuna or Mistral decoder."""

    architecture: ClassVar[str] = "LlavaNextVideoForConditionalGeneration"
    family: ClassVar[str] = "llava_next_video"
    placeholder_key: ClassVar[str] = "video_token_index"
    mean: ClassVar[Channels] = CLIP_MEAN
    std: ClassVar[Channels] = CLIP_STD
    end_of_turn: ClassVar[str] = "</s>"

    @classmethod
    def from_model(cls, model: Any, tokenizer: Any, folder: Path) -> Self:
        """Combine a loaded model with its folder's processor settings.

        Raises ModelError for a conversation format that is neither Vicuna's nor Mistral's.
        """
        kind = model.config.text_config.model_type
        if kind not in ("llama", "mistral") or "<|im_start|>" in tokenizer.get_vocab():
            raise ModelError(
                f"this LLaVA-NeXT-Video is built on a {kind!r} model, whose prompt format dycoke does not support",
                "Use LLaVA-NeXT-Video-7B-hf or LLaVA-NeXT-Video-7B-32K-hf",
            )
        return super().from_model(model, tokenizer, folder)

    @property
    def _side(self) -> int:
        """Pixels along each side of a frame at the vision tower's input."""
        return int(self.model.config.vision_config.image_size)

    def grid(self, frames: int, size: Size) -> Grid:
        """Return the visual tokens of `frames` frames, the same for every frame size."""
        side = self._side // self.model.config.vision_config.patch_size // self.model.config.spatial_pool_stride
        return Grid(frames, side, side)

    def patches_of(self, frames: int, size: Size) -> int:
        """Return the vision tower's patches per frame, the same for every frame size."""
        return int(self._side // self.model.config.vision_config.patch_size) ** 2

    def pixels(self, frames: PixelArray) -> Tensor:
        """Resize the shorter side, centre-crop to a square, normalise: (frames, 3, side, side), the model's dtype."""
        height, width = frames.shape[1:3]
        side, shorter = self._side, min(height, width)
        size = (side * height // shorter, side * width // shorter)
        model = self.language_model
        return self.preprocessing.prepare(frames, size, model.device, (side, side)).to(model.dtype)

    def encode_chunk(self, frames: PixelArray, of: int, saliency: bool) -> tuple[Tensor, None, None]:
        """Run vision tower, pooling and projector; see `Family.encode_chunk`."""
        features = self.model.get_video_features(self.pixels(frames)[None], return_dict=True).pooler_output
        if isinstance(features, tuple):  # transformers before 5.23: one entry per video
            (features,) = features
        return features.reshape(*self.grid(len(frames), frames.shape[1:3]), -1), None, None

    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Return the prompt by the model's chat template, after the tokenizer's beginning-of-sequence token."""
        video = self.tokenizer.convert_ids_to_tokens(self.placeholder)
        return (self.tokenizer.bos_token or "") + self._turn(f"{video}\n{question}")

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize the end of an answer and the next question by the chat template."""
        return self.tokenize((self.tokenizer.eos_token or "") + self._turn(question))

    def _turn(self, content: str) -> str:
        """Return a user's turn by the chat template of Mistral or Vicuna."""
        mistral = self.model.config.text_config.model_type == "mistral"
        return f"[INST] {content} [/INST]" if mistral else f"USER: {content} ASSISTANT:"

    def stock_video(self, frames: PixelArray, duration_s: float) -> dict[str, Tensor]:
        """Build the video inputs of stock `generate`."""
        return {"pixel_values_videos": self.pixels(frames)[None]}
