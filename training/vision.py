"""Stage 1: teaches the vision tower and the projector what each pooled token sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import LlavaOnevisionForConditionalGeneration

from training.frames import normalise
from training.model import TEXT_WIDTH, cosine, frame_tokens, parameter_groups
from training.muon import Muon
from training.pool import Pool
from training.scenes import COLOURS, SHAPES

BATCH = 32
MATRIX_RATE = 3e-3
OTHER_RATE = 1e-3
# The heads are thrown away, and have to be right again before the tower moves.
HEAD_RATE = 1e-2
# Visual tokens enter the language model at about the size of its text embeddings.
TOKEN_RMS = 0.5


class DenseHeads(nn.Module):
    """Reads shape, colour, whether a centre is here, and the centre's offset from each token."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = nn.Linear(TEXT_WIDTH, len(SHAPES) + 1)
        self.colour = nn.Linear(TEXT_WIDTH, len(COLOURS) + 1)
        self.centre = nn.Linear(TEXT_WIDTH, 2)
        self.offset = nn.Linear(TEXT_WIDTH, 2)

    def losses(self, tokens: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """Compare tokens (frames, 36, width) with labels (frames, 36, 5): the loss and the accuracies."""
        tokens, labels = tokens.flatten(0, 1), labels.flatten(0, 1)
        seen = labels[:, 0] > 0
        loss, accuracy = tokens.new_zeros(()), {}
        for column, (name, head) in enumerate(
            (("shape", self.shape), ("colour", self.colour), ("centre", self.centre))
        ):
            truth = labels[:, column].long()
            logits = head(tokens)
            loss = loss + cross_entropy(logits, truth)
            right = logits.argmax(-1) == truth
            accuracy[name] = right[seen].float().mean().item()
        miss = (self.offset(tokens[seen]) - labels[seen, 3:]).abs()
        return loss + 0.3 * miss.mean(), accuracy


def train_vision(
    model: LlavaOnevisionForConditionalGeneration,
    pool: Pool,
    steps: int,
    rate: float,
    seed: int,
    report: Callable[[dict], None],
) -> None:
    """Train tower and projector in place for `steps` batches of single frames, at `rate` times the usual rates."""
    torch.manual_seed(seed)
    heads = DenseHeads()
    parts = nn.ModuleDict({"tower": model.model.vision_tower, "projector": model.model.multi_modal_projector})
    matrices, rest = parameter_groups(parts, skip=("post_layernorm",))
    optimisers = (
        Muon(matrices, MATRIX_RATE),
        torch.optim.AdamW(rest, lr=OTHER_RATE, weight_decay=0.0),
        torch.optim.AdamW(heads.parameters(), lr=HEAD_RATE, weight_decay=0.0),
    )
    rates = (MATRIX_RATE * rate, OTHER_RATE * rate, HEAD_RATE)
    for step in range(steps):
        pixels, labels = _batch(pool, np.random.default_rng((seed, step)))
        loss, accuracy = heads.losses(frame_tokens(model, pixels), labels)
        for optimiser, top in zip(optimisers, rates, strict=True):
            warmup = 5 if top == HEAD_RATE else 100
            optimiser.param_groups[0]["lr"] = top * cosine(step, steps, warmup)
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        if step % 50 == 0 or step == steps - 1:
            report({"step": step, "loss": loss.item(), **accuracy})
    _scale_tokens(model, pool)


def _batch(pool: Pool, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    clips = rng.integers(0, pool.frames.shape[0], BATCH)
    moments = rng.integers(0, pool.frames.shape[1], BATCH)
    pixels = torch.from_numpy(pool.frames[clips, moments])
    labels = torch.from_numpy(pool.labels[clips, moments]).float()
    return normalise(pixels), labels


@torch.no_grad()
def _scale_tokens(model: LlavaOnevisionForConditionalGeneration, pool: Pool) -> None:
    pixels, _ = _batch(pool, np.random.default_rng(0))
    size = frame_tokens(model, pixels).square().mean().sqrt()
    last = model.model.multi_modal_projector.linear_2
    last.weight.mul_(TOKEN_RMS / size)
    last.bias.mul_(TOKEN_RMS / size)


@torch.no_grad()
def cache_tokens(model: LlavaOnevisionForConditionalGeneration, pool: Pool, path: Path) -> np.ndarray:
    """Encode every frame of a pool once: visual tokens float16 (clips, frames, 36, width), kept on disk."""
    clips, frames = pool.frames.shape[:2]
    if not path.exists():
        part = path.with_suffix(".part.npy")
        tokens = np.lib.format.open_memmap(part, "w+", np.float16, (clips, frames, 36, TEXT_WIDTH))
        group = max(1, 64 // frames)
        for first in range(0, clips, group):
            pixels = normalise(torch.tensor(pool.frames[first : first + group]).flatten(0, 1))
            tokens[first : first + group] = frame_tokens(model, pixels).half().unflatten(0, (-1, frames)).numpy()
        tokens.flush()
        part.rename(path)
    return np.load(path, mmap_mode="r")
