"""Base classes of all model families: Outline (counts from the configuration alone) and Family (a loaded model)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dycoke_cli.errors import ModelError
from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.models.quantization import stored_bytes
from dycoke_cli.system.free_memory import free_bytes
from dycoke_cli.tokens import Grid, Prompt, VisualTokens
from dycoke_cli.video.frame_buffer import Pixels

PixelArray = npt.NDArray[np.uint8]  # (frames, height, width, 3) RGB, all frames decoded
Size = tuple[int, int]  # height, width in pixels
HD: Size = (720, 1280)  # the assumed size of frames that have not been decoded
OnProgress = Callable[[int, int], None]  # frames encoded, frames in total

# Frames (patches in time) per pass of the vision tower, at most: enough to fill the device, few enough to need less
# memory than the prefill. On CUDA a pass also takes at most SHARE_OF_FREE of the free memory.
CHUNK = {"cpu": 4, "cuda": 16}
SHARE_OF_FREE = 0.25
MISMATCH_REMEDY = "The tokenizer's files or config.json are another model's: fetch or copy the model again"


@dataclass(frozen=True)
class Outline(ABC):
    """Token, patch and activation counts of a model, computed from its configuration without loading it.

    model: the transformers model, never modified; an object with only its `config` if the model is not loaded.
    quantizable: whether the model can be loaded quantised.
    """

    model: Any
    quantizable: ClassVar[bool] = False

    @property
    def frames_per_patch(self) -> int:
        """Sampled frames per patch in time: see `frames` in the glossary of `tokens`."""
        return 1

    @property
    def levels(self) -> int:
        """Number of DeepStack layers of the vision tower: see `levels` in the glossary of `tokens`."""
        return 0

    @abstractmethod
    def grid(self, frames: int, size: Size) -> Grid:
        """Return the visual tokens that `frames` frames of a size become when encoded."""

    def video_length(self, grid: Grid) -> int:
        """Return the prompt positions of an uncompressed video: visual tokens and newlines, none by default."""
        return grid.total

    @abstractmethod
    def patches_of(self, frames: int, size: Size) -> int:
        """Return the vision tower's patches per frame (per patch in time) for `frames` frames of a size."""

    def tower_activations(self, patches: int) -> int:
        """Return the peak number of activations in the vision tower and the projector for `patches` patches.

        By default two of width `intermediate` in the feed-forward network, and six of width `hidden` beside them.
        """
        vision = self.model.config.vision_config
        return patches * int(2 * vision.intermediate_size + 6 * vision.hidden_size)


@dataclass(frozen=True)
class Family(Outline):
    """A loaded model with its tokenizer: encodes frames, builds prompts, decodes answers. Neither is ever modified.

    end_of_turn: the token that ends an answer, besides those in the model's generation settings.
    """

    tokenizer: Any
    end_of_turn: ClassVar[str] = "<|im_end|>"

    @property
    @abstractmethod
    def family(self) -> str:
        """The family's name in JSON records."""

    @property
    @abstractmethod
    def facts(self) -> ModelFacts:
        """The properties of the model that compression methods check."""

    @cached_property
    def language_model(self) -> LanguageModel:
        """The decoder and output layer that the engine runs."""
        return LanguageModel(self.model.model.language_model, self.model.lm_head)

    @property
    def weight_bytes(self) -> int:
        """Stored bytes of all parameters, shared ones counted once."""
        return sum(stored_bytes(weight) for weight in self.model.parameters())

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer. Raises ModelError for an invalid eos_token_id in generation_config.json."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        if any(token is not None and type(token) is not int for token in ids):
            message = f"generation_config.json has eos_token_id={str(configured)[:80]}, which is no token id"
            raise ModelError(message, "Fetch or copy the model again")
        ids = [*ids, self.tokenizer.convert_tokens_to_ids(self.end_of_turn)]
        return frozenset(token for token in ids if token is not None)

    @torch.inference_mode()
    def encode(
        self, frames: Pixels, on_progress: OnProgress | None = None, saliency: bool = False, of: int | None = None
    ) -> VisualTokens:
        """Encode frames with the vision tower, in chunks, as the frames are decoded.

        saliency: also return the attention that each token receives; only if `facts.saliency`. of: the frames of the
        whole video, if `frames` is a part of it; every part but the last must contain whole patches in time.
        """
        if saliency and not self.facts.saliency:
            raise ValueError("this family has no saliency")  # methods that need it were refused before
        _, height, width, _ = frames.shape
        of, chunks = of or len(frames), []
        step = self.frames_per_chunk(self.patches_of(of, (height, width))) * self.frames_per_patch
        for start in range(0, len(frames), step):
            chunks.append(self.encode_chunk(frames[start : start + step], of, saliency))
            if on_progress is not None:
                on_progress(min(start + step, len(frames)), len(frames))
        features, *optional = zip(*chunks, strict=True)
        received, deepstack = (None if parts[0] is None else torch.cat(parts) for parts in optional)
        return VisualTokens.uncompressed(torch.cat(features), received, deepstack)

    @abstractmethod
    def encode_chunk(self, frames: PixelArray, of: int, saliency: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Encode some frames of a video of `of` frames with the vision tower and the projector.

        Returns features (frames, rows, cols, hidden), saliency (frames, rows, cols) or None, and DeepStack features
        (frames, rows, cols, levels, hidden) or None.
        """

    def frames_per_chunk(self, patches: int) -> int:
        """Return how many frames, of `patches` patches each, pass the vision tower at once."""
        device = self.language_model.device
        most = CHUNK[device.type]
        if device.type != "cuda":
            return most
        frame_bytes = self.tower_activations(patches) * self.language_model.dtype.itemsize
        return max(1, min(most, int(SHARE_OF_FREE * free_bytes(device)) // frame_bytes))

    @abstractmethod
    def prompt_for(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> Prompt:
        """Build the family's prompt around the remaining visual tokens.

        seconds: the time of each sampled frame, from the start of the sampled range; duration_s: the range's length.
        positions: "packed" numbers positions consecutively, "original" keeps those of the uncompressed prompt. Families
        whose positions count frames, rows and columns always keep them.
        """

    @abstractmethod
    def prompt_positions(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> int:
        """Return the rotary positions, gaps included, of the prompt that `prompt_for` builds from the same arguments.

        The features of `tokens` are not read, and nothing is embedded.
        """

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize the text between an answer and the next one: the end of the turn, and the question."""
        return self.tokenize(f"{self.end_of_turn}\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")

    @property
    def stock_from_pixels(self) -> bool:
        """Whether transformers' own `generate` arranges a video as this model needs it."""
        return True

    @abstractmethod
    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Build the arguments of transformers' own `generate` for a question; only if `stock_from_pixels`."""

    def tokenize(self, text: str) -> list[int]:
        """Tokenize text; special tokens in it are recognised, none are added.

        Raises ModelError for a token that the model has no embedding for.
        """
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        size = int(self.model.config.get_text_config().vocab_size)
        if ids and max(ids) >= size:
            raise ModelError(f"the tokenizer has a token {max(ids)}, the model's vocabulary {size}", MISMATCH_REMEDY)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Decode answer tokens to text, without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)
