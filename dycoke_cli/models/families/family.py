"""What a session needs of a loaded model, whatever its family."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.tokens import Grid, Prompt, VisualTokens
from dycoke_cli.video.frame_buffer import Pixels

Pictures = npt.NDArray[np.uint8]  # (frames, height, width, 3) RGB, none of them still to come
Size = tuple[int, int]  # height, width
HD: Size = (720, 1280)  # of which frames are taken to be until they are read
OnProgress = Callable[[int, int], None]  # frames done, of how many


class Outline(Protocol):
    """What a family's configuration alone decides: how much becomes of frames, and what it takes."""

    @property
    def model(self) -> Any:
        """Transformers' own model, used for its parts and never changed; its `config` alone where nothing is loaded."""
        ...

    @property
    def quantizable(self) -> bool:
        """Say whether it loads with fewer bits."""
        ...

    @property
    def frames_per_patch(self) -> int:
        """How many frames become one: see `frames` in the glossary of `tokens`."""
        ...

    @property
    def levels(self) -> int:
        """How many layers of the vision tower give features of their own: see the glossary of `tokens`."""
        ...

    def grid(self, frames: int, size: Size) -> Grid:
        """Say how many visual tokens so many frames of this size become, before any is encoded."""
        ...

    def video_length(self, grid: Grid) -> int:
        """Count the prompt positions of an uncompressed video: visual tokens and newlines."""
        ...

    def patches_of(self, frames: int, size: Size) -> int:
        """Say into how many patches the vision tower cuts one of so many frames of this size."""
        ...

    def tower_numbers(self, patches: int) -> int:
        """Count the numbers alive at once while the vision tower and what follows it work on so many patches."""
        ...


class Family(Outline, Protocol):
    """A loaded model with its tokenizer: frames and a question in, a prompt out, tokens back to text."""

    @property
    def tokenizer(self) -> Any:
        """Transformers' own tokenizer."""
        ...

    @property
    def family(self) -> str:
        """The name that records carry."""
        ...

    @property
    def language_model(self) -> LanguageModel:
        """The part that the engine runs."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """What methods check themselves against."""
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
        """Run the vision tower, a few frames at a time, as they arrive.

        saliency: also say how much attention each token receives there; only where `facts` offer it. of: how many
        frames the whole video has, where these are a part of it; a part but the last must hold whole patches in time.
        """
        ...

    def prompt_for(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> Prompt:
        """Put the family's words around what is left of the video.

        seconds: when each sampled frame is shown, from the start of what was sampled; duration_s: its length.
        positions: "packed" numbers what is there, "original" leaves the gaps of what was compressed away. Families
        whose positions count frames, rows and columns always leave them.
        """
        ...

    def prompt_positions(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> int:
        """Say how many rotary positions the prompt that `prompt_for` makes of the same takes, gaps included.

        The features of `tokens` are not looked at, and nothing is embedded.
        """
        ...

    def next_turn_ids(self, question: str) -> list[int]:
        """Tokenize what comes between an answer and the next one: the end of its turn, and the question."""
        ...

    @property
    def stock_from_pixels(self) -> bool:
        """Say whether transformers' own `generate` lays a video out as this model needs it."""
        ...

    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Make what transformers' own `generate` takes for the same question, where it can start from pixels."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Turn answer tokens into text, special tokens left out."""
        ...
