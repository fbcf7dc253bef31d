"""Compute the memory of a row of a batch from the sizes of model, video and method."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from dycoke_cli.engine.decoder import PIECE
from dycoke_cli.engine.generate import Stop
from dycoke_cli.engine.kv_pruning import round_up
from dycoke_cli.engine.prefill import TOGETHER
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family
from dycoke_cli.models.flops import TextShape
from dycoke_cli.tokens import Grid, VisualTokens

PROBE_WIDTH = 8  # channels of the random features with which the number of retained tokens is determined
USABLE = 0.9  # share of free memory; allocators round up and fragment


@dataclass(frozen=True)
class Footprint:
    """Bytes that a batch needs beside the weights."""

    kv: int  # keys and values of one row, its answer included
    prompt: int  # embeddings and DeepStack features of one row
    logits: int  # next-token scores of one row
    shared: int  # once, for any number of rows: uncompressed visual tokens of one, or activations of a layer
    stacked: bool  # the method prunes inside the prefill, which then runs all rows together

    @classmethod
    def of(
        cls, model: Family, method: Method, grid: Grid, frames: int, question: str, stop: Stop, bucket: int = 1
    ) -> "Footprint":
        """Compute the footprint of a question about `frames` frames, which become visual tokens of shape `grid`.

        bucket: slots of a buffer are rounded up to a multiple of it where decode steps are captured. How many tokens a
        method retains follows from the shape of the video, for methods that look at its content to within a token a
        frame.
        """
        language, text = model.language_model, model.language_model.shape
        entered = _entered(model, method, grid, frames, question)
        slots, deep_slots = (length + stop.max_new_tokens for length in (entered.length, entered.deep_length))
        stacked = entered.cut < text.layers
        if not stacked:
            slots = round_up(slots, bucket)
        together = entered.length if stacked else TOGETHER[language.device.type]
        size, per_layer = language.dtype.itemsize, text.kv_values_per_position // text.layers
        visual = visual_values(text, model.levels, grid.total)
        return cls(
            kv=per_layer * (slots * entered.cut + deep_slots * (text.layers - entered.cut)) * size,
            prompt=(entered.length + entered.visual * model.levels) * text.hidden * size,
            logits=text.vocabulary * (size + torch.float32.itemsize),
            shared=max(visual, prefill_values(text, model.levels, together, language.device)) * size,
            stacked=stacked,
        )

    @property
    def row(self) -> int:
        """Bytes by which each row enlarges a batch."""
        return self.kv + self.prompt + self.logits + (self.shared if self.stacked else 0)

    def rows(self, free: int) -> int:
        """Return how many rows fit into `free` bytes, at least 1."""
        usable = int(free * USABLE) - (0 if self.stacked else self.shared)
        return max(1, usable // self.row)


def visual_values(text: TextShape, levels: int, tokens: int) -> int:
    """Count the values of so many visual tokens: their features, and DeepStack's at `levels` levels."""
    return tokens * (1 + levels) * text.hidden


def prefill_values(text: TextShape, levels: int, positions: int, device: torch.device) -> int:
    """Count the activations of a layer that processes so many positions at once, its feed-forward network in pieces.

    DeepStack's features of these positions are copied.
    """
    piece = min(positions, PIECE[device.type])
    return positions * (text.activations_per_position + levels * text.hidden) + piece * text.feed_forward_per_position


def remaining_tokens(method: Method, grid: Grid) -> VisualTokens:
    """Return the tokens that a method retains of random features of shape `grid`."""
    stand_in = torch.rand(*grid, PROBE_WIDTH, generator=torch.Generator().manual_seed(0))
    return method.compress(VisualTokens.uncompressed(stand_in, stand_in[..., 0] if method.needs_saliency else None))


class _Entered(NamedTuple):
    """Sizes of the prompt that enters the language model."""

    length: int  # positions
    deep_length: int  # positions after pruning inside the prefill
    visual: int  # visual tokens among them
    cut: int  # first layer with `deep_length` positions; the number of layers if there is none


def _entered(model: Family, method: Method, grid: Grid, frames: int, question: str) -> _Entered:
    language = model.language_model
    tokens = remaining_tokens(method, grid)
    features = torch.empty(len(tokens), language.shape.hidden, dtype=language.dtype)
    on_device = replace(tokens, features=features).to(language.device)
    length = len(model.prompt_for(on_device, question, [0.0] * frames, 0.0, method.positions))
    prefill_pruner = method.prefill_pruner()
    if prefill_pruner is None:
        return _Entered(length, length, len(tokens), language.layers)
    dropped = len(tokens) - len(prefill_pruner.choose(torch.rand(len(tokens))))
    return _Entered(length, length - dropped, len(tokens), prefill_pruner.layer)
