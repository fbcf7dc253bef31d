"""LLaVA-OneVision and LLaVA-Video: SigLIP vision tower, two-layer projector, Qwen2 decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.models.families.family import Family, PixelArray, Size
from dycoke_cli.models.families.layout import VideoLayout
from dycoke_cli.models.families.preprocessing import resized
from dycoke_cli.models.families.saliency import encode_with_saliency
from dycoke_cli.system.device import upload
from dycoke_cli.tokens import Grid, Prompt, VisualTokens
from dycoke_cli.video.frame_buffer import Pixels

BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
AFTER = "\n{text}<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Llava(Family):
    """A loaded LLaVA model (transformers' LlavaOnevisionForConditionalGeneration), its tokenizer and video layout."""

    layout: VideoLayout
    quantizable: ClassVar[bool] = True

    @property
    def family(self) -> str:
        """The family's name in JSON records."""
        return "llava_video" if self.layout.time_instruction else "llava_onevision"

    @property
    def facts(self) -> ModelFacts:
        """The properties of the model that compression methods check."""
        return ModelFacts(self.language_model.layers, self.layout.newline, saliency=True)

    def grid(self, frames: int, size: Size | None = None) -> Grid:
        """Return the visual tokens of `frames` frames, the same for every frame size."""
        return Grid(frames, *self.layout.pooled(self._side, self._side))

    def patches_of(self, frames: int, size: Size | None = None) -> int:
        """Return the vision tower's patches per frame, the same for every frame size."""
        return self._side**2

    def tower_activations(self, patches: int) -> int:
        """Return the peak number of activations in the vision tower or the projector, which precedes pooling here."""
        return max(super().tower_activations(patches), patches * 3 * int(self.model.config.text_config.hidden_size))

    def pixels(self, frames: PixelArray) -> Tensor:
        """Resize and normalise as the models' processor does, without keeping the aspect ratio.

        frames: (frames, height, width, 3) uint8 RGB. Returns (frames, 3, image, image) in [-1, 1], the model's dtype.
        Resizing uint8 differs from the processor's PIL bicubic by at most 2 of 255 levels, and is ten times faster.
        """
        side = self.model.config.vision_config.image_size
        images = resized(frames, (side, side), self.language_model.device)
        return (images / 127.5 - 1).to(self.language_model.dtype)

    def encode_chunk(self, frames: PixelArray, of: int, saliency: bool) -> tuple[Tensor, Tensor | None, None]:
        """Encode frames, each independently, so that `of` has no effect; see `Family.encode_chunk`."""
        pixels = self.pixels(frames)
        if not saliency:
            return self.features(pixels), None, None
        patches, received = encode_with_saliency(self.model.model.vision_tower, pixels)
        return self._project(patches), self._pool(received[..., None])[..., 0], None

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """Encode pixels (frames, 3, image, image) to pooled features (frames, rows, cols, hidden)."""
        tower = self.model.model.vision_tower
        # The models use the encoder's output before the tower's final norm; `last_hidden_state` of the tower in
        # transformers comes after it.
        return self._project(tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state)

    def _project(self, patches: Tensor) -> Tensor:
        """Project and pool patches (frames, patches, width) to features (frames, rows, cols, hidden)."""
        return self._pool(self.model.model.multi_modal_projector(patches))

    def _pool(self, values: Tensor) -> Tensor:
        """Pool patches (frames, patches, channels) to tokens (frames, rows, cols, channels)."""
        return self.layout.pool(values.unflatten(1, (self._side, self._side)))

    @property
    def _side(self) -> int:
        """Patches along each side of a frame."""
        vision = self.model.config.vision_config
        return int(vision.image_size // vision.patch_size)

    def question_ids(self, question: str, seconds: Sequence[float], duration_s: float) -> list[int]:
        """Tokenize the text after the video: the question, preceded by the time instruction if the layout has one.

        seconds: the time of each sampled frame, from the start of the sampled range; duration_s: the range's length.
        """
        text = question
        if self.layout.time_instruction:
            times = ",".join(f"{second:.2f}s" for second in seconds)
            text = (
                f"The video lasts for {duration_s:.2f} seconds, and {len(seconds)} frames are uniformly sampled "
                f"from it. These frames are located at {times}.Please answer the following questions related to "
                f"this video.\n{question}"
            )
        return self.tokenize(AFTER.format(text=text))

    @torch.inference_mode()
    def prompt(
        self, tokens: VisualTokens, after: Sequence[int], positions: str, before: Sequence[int] | None = None
    ) -> Prompt:
        """Build the prompt: token ids `before` (the qwen_1_5 system turn if None), the video, token ids `after`.

        positions: "packed" numbers positions consecutively; "original" keeps those of the uncompressed prompt.
        """
        device = tokens.index.device
        block = self.layout.arrange(tokens, self.model.model.image_newline)
        before = self.tokenize(BEFORE) if before is None else before
        start = len(before)
        ids = upload([*before, *after], device)
        text = self.language_model.body.embed_tokens(ids)
        embeds = torch.cat([text[:start], block.embeds, text[start:]])
        if positions == "original":
            length, places = self.layout.length(tokens.grid), block.places
        else:
            length, places = len(block.places), torch.arange(len(block.places), device=device)
        end = start + length
        rest = end + torch.arange(len(after), device=device)
        rotary = torch.cat([torch.arange(start, device=device), start + places, rest])
        newlines = len(block.places) - len(tokens)
        return Prompt(embeds, rotary, start + block.visual, end + len(after), newlines)

    def prompt_for(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> Prompt:
        """Build the prompt: system turn, remaining visual tokens with the layout's newlines, question."""
        return self.prompt(tokens, self.question_ids(question, seconds, duration_s), positions)

    def prompt_positions(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> int:
        """Return the rotary positions of the prompt; see `Family.prompt_positions`."""
        video = self.layout.length(tokens.grid) if positions == "original" else self.layout.compressed_length(tokens)
        return len(self.tokenize(BEFORE)) + video + len(self.question_ids(question, seconds, duration_s))

    def video_length(self, grid: Grid) -> int:
        """Return the prompt positions of an uncompressed video, newlines included."""
        return self.layout.length(grid)

    @property
    def stock_from_pixels(self) -> bool:
        """Whether the layout is the only one in transformers: bilinear pooling, one newline at the end."""
        return (self.layout.newline, self.layout.pooling) == ("one_token", "bilinear")

    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Build the arguments of transformers' own `generate` for a question, as in its documentation."""
        visual = [self.model.config.video_token_index] * self.layout.length(self.grid(len(frames)))
        after = self.question_ids(question, seconds, duration_s)
        ids = torch.tensor([self.tokenize(BEFORE) + visual + after], device=self.language_model.device)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values_videos": self.pixels(frames[:])[None],
        }
