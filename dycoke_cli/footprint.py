"""How much memory a row of a batch takes, by arithmetic over the sizes of model, video and method."""

from dataclasses import dataclass, replace

import torch

from dycoke_cli.engine.generate import Stop
from dycoke_cli.engine.reading import round_up
from dycoke_cli.families.family import Family
from dycoke_cli.language_model import LanguageModel
from dycoke_cli.methods.protocol import Method
from dycoke_cli.tokens import Grid, VisualTokens

PROBE_WIDTH = 8  # channels of the stand-in features that tell how many tokens a method keeps
SPARE = 0.9  # of free memory; allocators round up and fragment


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory beside the weights."""

    kv: int  # of one row's keys and values, room for its answer included
    prompt: int  # of one row's embeddings
    logits: int  # of one row's next-token scores
    shared: int  # at the prefill, which takes one row at a time: visual tokens before compression, layers at work
    stacked: bool  # the method acts inside the prefill, which then takes all rows together

    @classmethod
    def of(
        cls, model: Family, method: Method, grid: Grid, frames: int, question: str, stop: Stop, bucket: int = 1
    ) -> "Footprint":
        """Work out what a question about a video of so many `frames` takes, which become tokens of shape `grid`.

        bucket: what a buffer's slots are rounded up to where steps are captured.

        How many tokens a method keeps follows from the shape of the video. Those that let its content decide keep that
        number to within a token a frame.
        """
        language = model.language_model
        slots, deep_slots, cut = _slots(model, method, grid, frames, question, stop.max_new_tokens)
        per_layer = language.kv_bytes_per_token // language.layers
        length = slots - stop.max_new_tokens
        if cut == language.layers:
            slots = round_up(slots, bucket)
        hidden = language.body.config.hidden_size * language.dtype.itemsize
        return cls(
            kv=per_layer * (slots * cut + deep_slots * (language.layers - cut)),
            prompt=length * hidden,
            logits=language.body.config.vocab_size * (language.dtype.itemsize + torch.float32.itemsize),
            shared=max(grid.total * hidden, _at_work(language, length)),
            stacked=cut < language.layers,
        )

    @property
    def row(self) -> int:
        """Bytes by which one more row makes a batch grow."""
        return self.kv + self.prompt + self.logits + (self.shared if self.stacked else 0)

    def rows(self, free: int) -> int:
        """Say how many rows `free` bytes hold, at least 1."""
        usable = int(free * SPARE) - (0 if self.stacked else self.shared)
        return max(1, usable // self.row)


def _slots(model: Family, method: Method, grid: Grid, frames: int, question: str, room: int) -> tuple[int, int, int]:
    """Count buffer slots: of the layers that see all that entered, of those after a cut, and where the cut is."""
    language = model.language_model
    stand_in = torch.rand(*grid, PROBE_WIDTH, generator=torch.Generator().manual_seed(0))
    tokens = method.compress(VisualTokens.whole(stand_in, stand_in[..., 0] if method.needs_saliency else None))
    features = torch.empty(len(tokens), language.body.config.hidden_size, dtype=language.dtype)
    on_device = replace(
        tokens,
        features=features.to(language.device),
        index=tokens.index.to(language.device),
        survivor=tokens.survivor.to(language.device),
    )
    slots = len(model.prompt_for(on_device, question, [0.0] * frames, 0.0, method.positions)) + room
    thinner = method.thinner()
    if thinner is None:
        return slots, slots, language.layers
    dropped = len(tokens) - len(thinner.choose(torch.rand(len(tokens))))
    return slots, slots - dropped, thinner.layer


def _at_work(language: LanguageModel, length: int) -> int:
    """Count the bytes that a layer's feed-forward part holds at once: three of its widest, and the residual stream."""
    config = language.body.config
    return length * (3 * config.intermediate_size + 4 * config.hidden_size) * language.dtype.itemsize
