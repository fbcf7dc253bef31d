"""Families whose prompt is a text in which a special token stands for each run of visual tokens."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from dycoke_cli.errors import ModelError, UsageError
from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.models.families.family import HD, OnProgress, Pictures, Size
from dycoke_cli.models.families.loaded_model import OTHER_FILES, LoadedModel
from dycoke_cli.models.families.preprocessing import Channels, PictureSettings
from dycoke_cli.tokens import Grid, Prompt, VisualTokens
from dycoke_cli.video.frame_buffer import Pixels


@dataclass(frozen=True)
class PlaceholderModel(LoadedModel):
    """A model without newline embeddings.

    A family says what its text is, how frames become features, and what stock `generate` wants besides token ids.

    architecture: the transformers class. mean, std: of each channel, where a checkpoint's files name none.
    """

    pictures: PictureSettings
    architecture: ClassVar[str]
    mean: ClassVar[Channels]
    std: ClassVar[Channels]

    @classmethod
    def outlined(cls, config: Any, folder: Path) -> Self:
        """Join a configuration with what its folder says about frames: an `Outline`, nothing to run.

        Raises ModelError for one that leaves nothing of a frame.
        """
        made = cls(SimpleNamespace(config=config), None, PictureSettings.read(folder, cls.mean, cls.std))
        if min(made.grid(2, HD)) < 1:
            raise ModelError(f"config.json of {str(folder)!r} leaves no visual token of a frame")
        return made

    @classmethod
    def opened(cls, model: Any, tokenizer: Any, folder: Path) -> Self:
        """Join a loaded model with what its folder says about frames.

        Raises ModelError where the tokenizer does not have the token that stands for visual tokens.
        """
        made = replace(cls.outlined(model.config, folder), model=model, tokenizer=tokenizer)
        inside = 0 <= made.placeholder < model.config.get_text_config().vocab_size
        if not inside or made.tokenize(made.text("", [0.0])).count(made.placeholder) != 1:
            raise ModelError(
                f"config.json has {made.placeholder} for the token that stands for a video, and the tokenizer has not",
                OTHER_FILES,
            )
        return made

    @property
    def facts(self) -> ModelFacts:
        """What methods check themselves against."""
        return ModelFacts(self.language_model.layers, "no_token", saliency=False)

    @property
    def stock_from_pixels(self) -> bool:
        """Stock `generate` knows these families as they are."""
        return True

    @property
    @abstractmethod
    def placeholder(self) -> int:
        """The token id that stands for visual tokens."""

    @abstractmethod
    def grid(self, frames: int, size: Size) -> Grid:
        """Say how many visual tokens so many frames of this size become."""

    @abstractmethod
    def patches_of(self, frames: int, size: Size) -> int:
        """Say into how many patches the vision tower cuts a frame of this size, when there are so many."""

    @abstractmethod
    def features(self, frames: Pictures, of: int) -> tuple[Tensor, Tensor | None]:
        """Turn some frames of a video of `of` frames into features (frames, rows, cols, hidden) and DeepStack features
        (frames, rows, cols, levels, hidden) or None."""

    @abstractmethod
    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Write the prompt, with one placeholder for each run of visual tokens."""

    @abstractmethod
    def stock_video(self, frames: Pictures, duration_s: float) -> dict[str, Tensor]:
        """Make what stock `generate` takes for the video, token ids apart."""

    def numbers(self, ids: Tensor, grid: Grid, frames: int, duration_s: float) -> Tensor:
        """Give the rotary positions of the uncompressed prompt `ids` (length,): (length,), or (length, 3)."""
        return torch.arange(len(ids))

    def video_length(self, grid: Grid) -> int:
        """Count the prompt positions of an uncompressed video."""
        return grid.total

    @torch.inference_mode()
    def encode(
        self, frames: Pixels, on_progress: OnProgress | None = None, saliency: bool = False, of: int | None = None
    ) -> VisualTokens:
        """Run the vision tower over (frames, height, width, 3) uint8, a few frames at a time, as they
        arrive; see `Family.encode`."""
        if saliency:
            raise ValueError("this family offers no saliency")  # methods that want it have been refused
        _, height, width, _ = frames.shape
        of, (features, deeper) = of or len(frames), ([], [])
        chunk = self.together(self.patches_of(of, (height, width))) * self.frames_per_patch
        for start in range(0, len(frames), chunk):
            seen, deep = self.features(frames[start : start + chunk], of)
            features.append(seen)
            deeper += [] if deep is None else [deep]
            if on_progress is not None:
                on_progress(min(start + chunk, len(frames)), len(frames))
        return VisualTokens.whole(torch.cat(features), deepstack=torch.cat(deeper) if deeper else None)

    def prompt_ids(self, question: str, seconds: Sequence[float], grid: Grid) -> Tensor:
        """Tokenize the uncompressed prompt, placeholders repeated: (length,) int64 on the CPU.

        Raises UsageError for a question that holds the placeholder itself.
        """
        text = self.text(question, seconds)
        ids, empty = self.tokenize(text), self.tokenize(self.text("", seconds))
        runs = ids.count(self.placeholder)
        if runs != empty.count(self.placeholder):
            name = self.tokenizer.convert_ids_to_tokens(self.placeholder)
            raise UsageError(f"the question holds {name!r}, which stands for the video", "Ask without it")
        if runs not in (1, grid.frames):
            raise ValueError(f"{len(seconds)} times do not fit a video of {grid}")
        each = grid.total // runs
        counts = [each if token == self.placeholder else 1 for token in ids]
        return torch.tensor(ids).repeat_interleave(torch.tensor(counts))

    @torch.inference_mode()
    def prompt_for(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> Prompt:
        """Put the family's words around what is left of the video; see `Family.prompt_for`.

        The words stay as they are for a frame of which nothing is left.
        """
        ids = self.prompt_ids(question, seconds, tokens.grid)
        numbers = self.numbers(ids, tokens.grid, len(seconds), duration_s)
        following = int(numbers.max()) + 1
        ids = ids.to(tokens.index.device)
        stays = ids != self.placeholder
        place = (~stays).nonzero().squeeze(1)[tokens.index]  # in the uncompressed prompt, of each token
        stays[place] = True
        visual = (stays.cumsum(0) - 1)[place]
        embeds = self.language_model.body.embed_tokens(ids[stays])
        embeds[visual] = tokens.features.to(embeds.dtype)
        prompt = Prompt(embeds, numbers.to(ids.device)[stays], visual, following, deepstack=tokens.deepstack)
        if positions == "packed" and numbers.dim() == 1:
            packed = torch.arange(len(embeds), device=ids.device)
            return replace(prompt, positions=packed, next_position=len(embeds))
        return prompt

    def prompt_positions(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> int:
        """Say how many positions the prompt takes; see `Family.prompt_positions`."""
        ids = self.prompt_ids(question, seconds, tokens.grid)
        numbers = self.numbers(ids, tokens.grid, len(seconds), duration_s)
        if positions == "packed" and numbers.dim() == 1:
            return len(ids) - tokens.grid.total + len(tokens)
        return int(numbers.max()) + 1

    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Make what transformers' own `generate` takes, as the family's processor would."""
        whole = frames[:]
        ids = self.prompt_ids(question, seconds, self.grid(len(whole), whole.shape[1:3]))[None]
        ids = ids.to(self.language_model.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **self.stock_video(whole, duration_s)}
