"""PlaceholderModel: base class of families whose prompt text has a placeholder token for each run of visual tokens."""

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
from dycoke_cli.models.families.family import HD, MISMATCH_REMEDY, Family, PixelArray
from dycoke_cli.models.families.preprocessing import Channels, FramePreprocessing
from dycoke_cli.tokens import Grid, Prompt, VisualTokens
from dycoke_cli.video.frame_buffer import Pixels


@dataclass(frozen=True)
class PlaceholderModel(Family):
    """A model without newline embeddings, whose prompt is a text with placeholders.

    A subclass defines the prompt text, the encoding of frames, and the video inputs of stock `generate`.

    architecture: the transformers class. placeholder_key: the configuration's field with the id of the placeholder
    token. mean, std: of each channel, for checkpoints whose files have none.
    """

    preprocessing: FramePreprocessing
    architecture: ClassVar[str]
    placeholder_key: ClassVar[str]
    mean: ClassVar[Channels]
    std: ClassVar[Channels]

    @classmethod
    def from_config(cls, config: Any, folder: Path) -> Self:
        """Build an `Outline` from a configuration and the folder's processor settings; it has no model to run.

        Raises ModelError if a frame would have no visual tokens.
        """
        made = cls(SimpleNamespace(config=config), None, FramePreprocessing.read(folder, cls.mean, cls.std))
        if min(made.grid(2, HD)) < 1:
            raise ModelError(f"config.json of {str(folder)!r} gives a frame no visual tokens")
        return made

    @classmethod
    def from_model(cls, model: Any, tokenizer: Any, folder: Path) -> Self:
        """Combine a loaded model with its folder's processor settings.

        Raises ModelError if the tokenizer lacks the placeholder token.
        """
        made = replace(cls.from_config(model.config, folder), model=model, tokenizer=tokenizer)
        inside = 0 <= made.placeholder < model.config.get_text_config().vocab_size
        if not inside or made.tokenize(made.text("", [0.0])).count(made.placeholder) != 1:
            raise ModelError(
                f"config.json has token {made.placeholder} as the video's placeholder, and the tokenizer does not",
                MISMATCH_REMEDY,
            )
        return made

    @property
    def facts(self) -> ModelFacts:
        """The properties of the model that compression methods check."""
        return ModelFacts(self.language_model.layers, "no_token", saliency=False)

    @property
    def placeholder(self) -> int:
        """The id of the placeholder token, repeated for each visual token."""
        return int(getattr(self.model.config, self.placeholder_key))

    @abstractmethod
    def text(self, question: str, seconds: Sequence[float]) -> str:
        """Return the prompt text, with one placeholder for each run of visual tokens."""

    @abstractmethod
    def stock_video(self, frames: PixelArray, duration_s: float) -> dict[str, Tensor]:
        """Build the video inputs of stock `generate`: all but token ids and attention mask."""

    def rotary_positions(self, ids: Tensor, grid: Grid, frames: int, duration_s: float) -> Tensor:
        """Return the rotary positions of the uncompressed prompt `ids` (length,): (length,), or (length, 3)."""
        return torch.arange(len(ids))

    def prompt_ids(self, question: str, seconds: Sequence[float], grid: Grid) -> Tensor:
        """Tokenize the uncompressed prompt, the placeholder repeated for each visual token: (length,) int64 on the CPU.

        Raises UsageError if the question contains the placeholder.
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
        """Build the prompt around the remaining visual tokens; see `Family.prompt_for`.

        The text for a frame (its number or its time) stays in the prompt if no token of the frame remains.
        """
        ids = self.prompt_ids(question, seconds, tokens.grid)
        rotary = self.rotary_positions(ids, tokens.grid, len(seconds), duration_s)
        next_position = int(rotary.max()) + 1
        ids = ids.to(tokens.index.device)
        kept = ids != self.placeholder
        place = (~kept).nonzero().squeeze(1)[tokens.index]  # index of each token in the uncompressed prompt
        kept[place] = True
        visual = (kept.cumsum(0) - 1)[place]
        embeds = self.language_model.body.embed_tokens(ids[kept])
        embeds[visual] = tokens.features.to(embeds.dtype)
        prompt = Prompt(embeds, rotary.to(ids.device)[kept], visual, next_position, deepstack=tokens.deepstack)
        if positions == "packed" and rotary.dim() == 1:
            packed = torch.arange(len(embeds), device=ids.device)
            return replace(prompt, positions=packed, next_position=len(embeds))
        return prompt

    def prompt_positions(
        self, tokens: VisualTokens, question: str, seconds: Sequence[float], duration_s: float, positions: str
    ) -> int:
        """Return the rotary positions of the prompt; see `Family.prompt_positions`."""
        ids = self.prompt_ids(question, seconds, tokens.grid)
        rotary = self.rotary_positions(ids, tokens.grid, len(seconds), duration_s)
        if positions == "packed" and rotary.dim() == 1:
            return len(ids) - tokens.grid.total + len(tokens)
        return int(rotary.max()) + 1

    def stock_inputs(
        self, frames: Pixels, question: str, seconds: Sequence[float], duration_s: float
    ) -> dict[str, Tensor]:
        """Build the arguments of transformers' own `generate`, as the family's processor would."""
        pixels = frames[:]
        ids = self.prompt_ids(question, seconds, self.grid(len(pixels), pixels.shape[1:3]))[None]
        ids = ids.to(self.language_model.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **self.stock_video(pixels, duration_s)}
