"""Protocols of a model family: Outline (sizes from the configuration alone) and Family (a loaded model)."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.tokens import Grid, Prompt, VisualTokens
from dycoke_cli.video.frame_buffer import Pixels

PixelArray = npt.NDArray[np.uint8]  # (frames, height, width, 3) RGB, all frames decoded
Size = tuple[int, int]  # height, width in pixels
HD: Size = (720, 1280)  # the assumed size of frames that have not been decoded
OnProgress = Callable[[int, int], None]  # frames encoded, frames in total


class Outline(Protocol):
    """Token, patch and activation counts of a model, computed from its configuration without loading it."""

    @property
    def model(self) -> Any:
        """The transformers model, never modified; an object with only its `config` if the model is not loaded."""
        ...

    @property
    def quantizable(self) -> bool:
        """Whether the model can be loaded quantised."""
        ...

    @property
    def frames_per_patch(self) -> int:
        """Sampled frames per patch in time: see `frames` in the glossary of `tokens`."""
        ...

    @property
    def levels(self) -> int:
        """Number of DeepStack layers of the vision tower: see `levels` in the glossary of `tokens`."""
        ...

    def grid(self, frames: int, size: Size) -> Grid:
        """Return the visual tokens that `frames` frames of a size become when encoded."""
        ...

    def video_length(self, grid: Grid) -> int:
        """Return the prompt positions of an uncompressed video: visual tokens and newlines."""
        ...

    def patches_of(self, frames: int, size: Size) -> int:
        """Return the vision tower's patches per frame (per patch in time) for `frames` frames of a size."""
        ...

    def tower_activations(self, patches: int) -> int:
        """Return the peak number of activations in the vision tower and the projector for `patches` patches."""
        ...


class Family(Outline, Protocol):
    """A loaded model with its tokenizer: encodes frames, builds prompts, decodes answers."""

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        ...

    @property
    def family(self) -> str:
        """The family's name in JSON records."""
        ...

    @property
    def language_model(self) -> LanguageModel:
        """The decoder and output layer that the engine runs."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """The properties of the model that compression methods check."""
        ...

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters, shared ones counted once."""
        ...

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        ...

    def encode(
        self, frames: Pixels, on_progress: OnProgress | None = None, saliency: bool = False, of: int | None = None
    ) -> VisualTokens:
        """Encode frames with the vision tower, in chunks, as the frames are decoded.

        saliency: also return the attention that each token receives; only if `facts.saliency`. of: the frames of the
        whole video, if `frames` is a part of it; every part but the last must contain whole patches in time.
        """
        ...

    def prompt_for(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> Prompt:
        """Build the family's prompt around the remaining visual tokens.

        seconds: the time of each sampled frame, from the start of the sampled range; duration_s: the range's length.
        positions: "packed" numbers positions consecutively, "original" keeps those of the uncompressed prompt. Families
        whose positions count frames, rows and columns always keep them.
        """
        ...

    def prompt_positions(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> int:
        """Return the rotary positions, gaps included, of the prompt that `prompt_for` builds from the same arguments.

        The features of `tokens` are not read, and nothing is embedded.
        """
        ...

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize the text between an answer and the next one: the end of the turn, and the question."""
        ...

    @property
    def stock_from_pixels(self) -> bool:
        """Whether transformers' own `generate` arranges a video as this model needs it."""
        ...

    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Build the arguments of transformers' own `generate` for a question; only if `stock_from_pixels`."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Decode answer tokens to text, without special tokens."""
        ...
