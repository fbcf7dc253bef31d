"""LLaVA-OneVision and LLaVA-Video: SigLIP, a two-layer projector, Qwen2."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.families.layout import VideoLayout
from dycoke_cli.families.saliency import encode_watched
from dycoke_cli.language_model import LanguageModel
from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.tokens import Grid, Prompt, VisualTokens
from dycoke_cli.video.arriving import Pixels

BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
AFTER = "\n{text}<|im_end|>\n<|im_start|>assistant\n"
NEXT_TURN = "<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
END_OF_TURN = "<|im_end|>"
# Frames that pass the vision tower together: enough to fill the device, few enough to stay below the prefill's peak.
CHUNK = {"cpu": 4, "cuda": 16}
OnProgress = Callable[[int, int], None]  # done, of how many


@dataclass(frozen=True)
class Llava:
    """A loaded LLaVA model with its tokenizer and layout: frames and a question in, a prompt out.

    model: transformers' LlavaOnevisionForConditionalGeneration, used for its parts; it is never changed.
    """

    model: Any
    tokenizer: Any
    layout: VideoLayout

    @property
    def language_model(self) -> LanguageModel:
        """The part that the engine runs."""
        return LanguageModel(self.model.model.language_model, self.model.lm_head)

    @property
    def family(self) -> str:
        """The name that records carry."""
        return "llava_video" if self.layout.time_instruction else "llava_onevision"

    @property
    def facts(self) -> ModelFacts:
        """What methods check themselves against."""
        return ModelFacts(self.language_model.layers, self.layout.newline, saliency=True)

    def grid(self, frames: int) -> Grid:
        """Say how many visual tokens so many frames become."""
        return Grid(frames, *self.layout.pooled(self._side, self._side))

    @property
    def newline(self) -> Tensor:
        """The newline embedding: (hidden,)."""
        newline: Tensor = self.model.model.image_newline
        return newline

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters, shared ones counted once."""
        return sum(weight.numel() * weight.element_size() for weight in self.model.parameters())

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        ids = [*ids, self.tokenizer.convert_tokens_to_ids(END_OF_TURN)]
        return frozenset(token for token in ids if token is not None)

    def pixels(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Resize and scale as the models' processor does, aspect ratio not kept.

        frames: (frames, height, width, 3) uint8 RGB. Returns (frames, 3, image, image) in [-1, 1], the model's dtype.
        Resizing on uint8 is within two levels of 255 of the processor's PIL bicubic, and ten times faster.
        """
        side = self.model.config.vision_config.image_size
        device = self.language_model.device
        images = torch.from_numpy(frames).permute(0, 3, 1, 2)
        if device.type == "cuda":
            # Bytes cross, not floats; a frame at a time keeps the floats few.
            images = torch.cat([_resized_as_bytes(image.to(device), side) for image in images.split(1)])
        else:
            images = F.interpolate(images, (side, side), mode="bicubic", antialias=True).contiguous()
        return (images.to(device, torch.float32) / 127.5 - 1).to(self.language_model.dtype)

    @torch.inference_mode()
    def encode(self, frames: Pixels, on_progress: OnProgress | None = None, saliency: bool = False) -> VisualTokens:
        """Run the vision tower over (frames, height, width, 3) uint8, a few frames at a time, as they arrive.

        saliency: also say how much attention each token receives there, for a method that needs it.
        """
        features, received = [], []
        chunk = CHUNK[self.language_model.device.type]
        tower = self.model.model.vision_tower
        for start in range(0, len(frames), chunk):
            pixels = self.pixels(frames[start : start + chunk])
            if saliency:
                patches, attention = encode_watched(tower, pixels)
                features.append(self._project(patches))
                received.append(self._pool(attention[..., None])[..., 0])
            else:
                features.append(self.features(pixels))
            if on_progress is not None:
                on_progress(min(start + chunk, len(frames)), len(frames))
        return VisualTokens.whole(torch.cat(features), torch.cat(received) if saliency else None)

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """Turn pixels (frames, 3, image, image) into pooled features (frames, rows, cols, hidden)."""
        tower = self.model.model.vision_tower
        # The models use the encoder's output before the tower's last norm, which transformers' own
        # `last_hidden_state` has already passed.
        return self._project(tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state)

    def _project(self, patches: Tensor) -> Tensor:
        """Turn patches (frames, patches, width) into pooled features (frames, rows, cols, hidden)."""
        return self._pool(self.model.model.multi_modal_projector(patches))

    def _pool(self, values: Tensor) -> Tensor:
        """Pool values of patches (frames, patches, channels) to tokens (frames, rows, cols, channels)."""
        return self.layout.pool(values.unflatten(1, (self._side, self._side)))

    @property
    def _side(self) -> int:
        """Patches along each side of a frame."""
        vision = self.model.config.vision_config
        return int(vision.image_size // vision.patch_size)

    def question_ids(self, question: str, seconds: Sequence[float], duration_s: float) -> list[int]:
        """Tokenize what follows the video: the question, after LLaVA-Video's time instruction where it has one.

        seconds: when each sampled frame is shown, from the start of what was sampled; duration_s: its length.
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

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize what comes between an answer and the next one: the end of its turn, and the question."""
        return self.tokenize(NEXT_TURN.format(text=question))

    def tokenize(self, text: str) -> list[int]:
        """Turn text into token ids, special tokens recognised, none added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    @torch.inference_mode()
    def prompt(
        self, tokens: VisualTokens, after: Sequence[int], positions: str, before: Sequence[int] | None = None
    ) -> Prompt:
        """Join the token ids `before` the video (the qwen_1_5 system turn if None), the video, and the ids `after` it.

        positions: "packed" numbers what is there; "original" leaves the gaps of what was compressed away.
        """
        device = tokens.index.device
        block = self.layout.arrange(tokens, self.newline)
        embed = self.language_model.body.embed_tokens
        ids = self.tokenize(BEFORE) if before is None else before
        before_ids = torch.tensor(list(ids), dtype=torch.int64, device=device)
        after_ids = torch.tensor(list(after), dtype=torch.int64, device=device)
        embeds = torch.cat([embed(before_ids), block.embeds, embed(after_ids)])
        start = len(before_ids)
        if positions == "original":
            rest = start + self.layout.length(tokens.grid) + torch.arange(len(after_ids), device=device)
            numbers = torch.cat([torch.arange(start, device=device), start + block.places, rest])
        else:
            numbers = torch.arange(len(embeds), device=device)
        return Prompt(embeds, numbers, start + block.visual, len(block.places) - len(tokens))

    def decode(self, ids: Sequence[int]) -> str:
        """Turn answer tokens into text, special tokens left out."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text


def _resized_as_bytes(images: Tensor, side: int) -> Tensor:
    """Scale uint8 (frames, 3, height, width) to a square of float32, as the CPU does it on bytes.

    CUDA has no kernel for bytes. Those of the CPU round and cut off after each direction, so this does too.
    """
    values = images.float()
    for size in ((images.shape[2], side), (side, side)):
        values = F.interpolate(values, size, mode="bicubic", antialias=True).round().clamp(0, 255)
    return values
