"""How much memory a row of a batch takes, by arithmetic over the sizes of model, video and method."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from dycoke_cli.engine.generate import Stop
from dycoke_cli.engine.kv_pruning import round_up
from dycoke_cli.engine.prefill import TOGETHER
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family
from dycoke_cli.models.flops import TextShape
from dycoke_cli.tokens import Grid, VisualTokens

PROBE_WIDTH = 8  # channels of the stand-in features that tell how many tokens a method keeps
SPARE = 0.9  # of free memory; allocators round up and fragment


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory beside the weights."""

    kv: int  # of one row's keys and values, room for its answer included
    prompt: int  # of one row's embeddings and DeepStack features
    logits: int  # of one row's next-token scores
    shared: int  # once, however many rows: one's visual tokens before compression, or the layer at work
    stacked: bool  # the method acts inside the prefill, where the layer then works on all rows together

    @classmethod
    def of(
        cls, model: Family, method: Method, grid: Grid, frames: int, question: str, stop: Stop, bucket: int = 1
    ) -> "Footprint":
        """Work out what a question about a video of so many `frames` takes, which become tokens of shape `grid`.

        bucket: what a buffer's slots are rounded up to where steps are captured.

        How many tokens a method keeps follows from the shape of the video. Those that let its content decide keep that
        number to within a token a frame.
        """
        language, text = model.language_model, model.language_model.shape
        entered = _entered(model, method, grid, frames, question)
        slots, deep_slots = (length + stop.max_new_tokens for length in (entered.length, entered.deep_length))
        stacked = entered.cut < text.layers
        if not stacked:
            slots = round_up(slots, bucket)
        together = entered.length if stacked else TOGETHER[language.device.type]
        size, per_layer = language.dtype.itemsize, text.kv_numbers // text.layers
        visual = visual_numbers(text, model.levels, grid.total)
        return cls(
            kv=per_layer * (slots * entered.cut + deep_slots * (text.layers - entered.cut)) * size,
            prompt=(entered.length + entered.visual * model.levels) * text.hidden * size,
            logits=text.vocabulary * (size + torch.float32.itemsize),
            shared=max(visual, prefill_numbers(text, model.levels, together)) * size,
            stacked=stacked,
        )

    @property
    def row(self) -> int:
        """Bytes by which one more row makes a batch grow."""
        return self.kv + self.prompt + self.logits + (self.shared if self.stacked else 0)

    def rows(self, free: int) -> int:
        """Say how many rows `free` bytes hold, at least 1."""
        usable = int(free * SPARE) - (0 if self.stacked else self.shared)
        return max(1, usable // self.row)


def visual_numbers(text: TextShape, levels: int, tokens: int) -> int:
    """Count the numbers that so many visual tokens are: their features, and those of DeepStack's `levels`."""
    return tokens * (1 + levels) * text.hidden


def prefill_numbers(text: TextShape, levels: int, positions: int) -> int:
    """Count the numbers alive at once while so many positions pass a layer together.

    Stock models are handed DeepStack's features once more, as they stand in the prompt.
    """
    return positions * (text.working_numbers + levels * text.hidden)


def left_of(method: Method, grid: Grid) -> VisualTokens:
    """Let a method show on a stand-in for a video of shape `grid` which tokens it leaves."""
    stand_in = torch.rand(*grid, PROBE_WIDTH, generator=torch.Generator().manual_seed(0))
    return method.compress(VisualTokens.whole(stand_in, stand_in[..., 0] if method.needs_saliency else None))


class _Entered(NamedTuple):
    """What of a question and its video enters the language model."""

    length: int  # positions
    deep_length: int  # those that are left after the cut
    visual: int  # of `length`, visual tokens
    cut: int  # the first layer that sees `deep_length` positions; how many layers there are: none does


def _entered(model: Family, method: Method, grid: Grid, frames: int, question: str) -> _Entered:
    language = model.language_model
    tokens = left_of(method, grid)
    features = torch.empty(len(tokens), language.shape.hidden, dtype=language.dtype)
    on_device = replace(tokens, features=features).to(language.device)
    length = len(model.prompt_for(on_device, question, [0.0] * frames, 0.0, method.positions))
    prefill_pruner = method.prefill_pruner()
    if prefill_pruner is None:
        return _Entered(length, length, len(tokens), language.layers)
    dropped = len(tokens) - len(prefill_pruner.choose(torch.rand(len(tokens))))
    return _Entered(length, length - dropped, len(tokens), prefill_pruner.layer)
