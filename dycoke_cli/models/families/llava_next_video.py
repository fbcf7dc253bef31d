"""LLaVA-NeXT-Video: CLIP, pooled by two in each direction, one run of visual tokens without newlines.

Source: Zhang et al., "LLaVA-NeXT: A Strong Zero-shot Video Understanding Model", 2024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from dycoke_cli.errors import ModelError
from dycoke_cli.models.families.family import Pictures, Size
from dycoke_cli.models.families.placeholder import PlaceholderModel
from dycoke_cli.models.families.preprocessing import CLIP_MEAN, CLIP_STD, Channels
from dycoke_cli.tokens import Grid


@dataclass(frozen=True)
class LlavaNextVideo(PlaceholderModel):
    """A loaded LLaVA-NeXT-Video on Vicuna or Mistral."""

    architecture: ClassVar[str] = "LlavaNextVideoForConditionalGeneration"
    family: ClassVar[str] = "llava_next_video"
    mean: ClassVar[Channels] = CLIP_MEAN
    std: ClassVar[Channels] = CLIP_STD
    end_of_turn: ClassVar[str] = "</s>"

    @classmethod
    def opened(cls, model: Any, tokenizer: Any, folder: Path) -> Self:
        """Join a loaded model with what its folder says about frames.

        Raises ModelError for a conversation format that is neither Vicuna's nor Mistral's.
        """
        kind = model.config.text_config.model_type
        if kind not in ("llama", "mistral") or "<|im_start|>" in tokenizer.get_vocab():
            raise ModelError(
                f"this LLaVA-NeXT-Video is built on a {kind!r} model whose prompts dycoke does not know",
                "Use LLaVA-NeXT-Video-7B-hf or LLaVA-NeXT-Video-7B-32K-hf",
            )
        return super().opened(model, tokenizer, folder)

    @property
    def placeholder(self) -> int:
        """The token id that stands for visual tokens."""
        return int(self.model.config.video_token_index)

    @property
    def _side(self) -> int:
        """Pictures along each side of a frame as the vision tower takes it."""
        return int(self.model.config.vision_config.image_size)

    def grid(self, frames: int, size: Size) -> Grid:
        """Say how many visual tokens so many frames become; their size does not matter."""
        side = self._side // self.model.config.vision_config.patch_size // self.model.config.spatial_pool_stride
        return Grid(frames, side, side)

    def patches_of(self, frames: int, size: Size) -> int:
        """Say into how many patches the vision tower cuts a frame; its size does not matter."""
        return int(self._side // self.model.config.vision_config.patch_size) ** 2

    def pixels(self, frames: Pictures) -> Tensor:
        """Bring the shorter side to size, cut a square out of the middle, scale: (frames, 3, side, side)."""
        height, width = frames.shape[1:3]
        side, shorter = self._side, min(height, width)
        size = (side * height // shorter, side * width // shorter)
        model = self.language_model
        return self.pictures.prepare(frames, size, model.device, (side, side)).to(model.dtype)

    def features(self, frames: Pictures, of: int) -> tuple[Tensor, None]:
        """Run vision tower, pooling and projector; see `PlaceholderModel.features`."""
        seen = self.model.get_video_features(self.pixels(frames)[None], return_dict=True).pooler_output
        if isinstance(seen, tuple):  # of transformers before 5.23: one a video
            (seen,) = seen
        return seen.reshape(*self.grid(len(frames), frames.shape[1:3]), -1), None

    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Write the prompt of the model's chat template, begun as its tokenizer begins."""
        video = f"{self.tokenizer.convert_ids_to_tokens(self.placeholder)}\n{question}"
        start = self.tokenizer.bos_token or ""
        if self.model.config.text_config.model_type == "mistral":
            return f"{start}[INST] {video} [/INST]"
        return f"{start}USER: {video} ASSISTANT:"

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize the end of an answer and the next question, as the chat template has them."""
        end = self.tokenizer.eos_token or ""
        if self.model.config.text_config.model_type == "mistral":
            return self.tokenize(f"{end}[INST] {question} [/INST]")
        return self.tokenize(f"{end}USER: {question} ASSISTANT:")

    def stock_video(self, frames: Pictures, duration_s: float) -> dict[str, Tensor]:
        """Make the inputs of stock `generate` besides token ids."""
        return {"pixel_values_videos": self.pixels(frames)[None]}
