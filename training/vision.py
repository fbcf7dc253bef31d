"""Stage 1: train the vision tower and the projector to encode shape, colour and centre in each pooled token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import LlavaOnevisionForConditionalGeneration

from training.frames import normalise
from training.heads import Heads, as_tensors
from training.labels import FRAME_LABELS, clip_labels
from training.model import TEXT_WIDTH, cosine, frame_tokens, parameter_groups
from training.muon import Muon
from training.pool import Pool
from training.timeline import Timeline
from training.whitening import whiten

BATCH = 32
MATRIX_RATE = 3e-3
OTHER_RATE = 1e-3
# High, so that the new auxiliary heads of a round fit before the tower changes much.
HEAD_RATE = 1e-2
# Batches of frames from which the whitening is estimated.
MEASURED_BATCHES = 24


def train_vision(
    model: LlavaOnevisionForConditionalGeneration,
    pools: tuple[Pool, ...],
    steps: int,
    rate: float,
    seed: int,
    report: Callable[[dict], None],
) -> None:
    """Train tower and projector in place for `steps` batches of single frames, at `rate` times the learning rates."""
    torch.manual_seed(seed)
    heads = Heads(FRAME_LABELS, TEXT_WIDTH)
    parts = nn.ModuleDict({"tower": model.model.vision_tower, "projector": model.model.multi_modal_projector})
    matrices, rest = parameter_groups(parts, skip=("post_layernorm",))
    optimisers = (
        Muon(matrices, MATRIX_RATE),
        torch.optim.AdamW(rest, lr=OTHER_RATE, weight_decay=0.0),
        torch.optim.AdamW(heads.parameters(), lr=HEAD_RATE, weight_decay=0.0),
    )
    rates = (MATRIX_RATE * rate, OTHER_RATE * rate, HEAD_RATE)
    for step in range(steps):
        rng = np.random.default_rng((seed, step))
        pixels, labels = _batch(pools[step % len(pools)], rng)
        loss, accuracy = heads.losses(frame_tokens(model, pixels).flatten(0, 1), labels)
        for optimiser, top in zip(optimisers, rates, strict=True):
            warmup = 5 if top == HEAD_RATE else 100
            optimiser.param_groups[0]["lr"] = top * cosine(step, steps, warmup)
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        if step % 50 == 0 or step == steps - 1:
            report({"step": step, "loss": loss.item(), **accuracy})
    whiten(model, _whitening_frames(pools[0]))


def _batch(pool: Pool, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Draw single frames; return pixels (frames, 3, 96, 96) and the labels of their tokens, each (frames * 36,)."""
    clips = rng.integers(0, pool.recipe.clips, BATCH)
    moments = rng.integers(0, pool.recipe.frames, BATCH)
    labels = [_frame_labels(pool, int(clip), int(moment)) for clip, moment in zip(clips, moments, strict=True)]
    joined = {name: np.concatenate([one[name].ravel() for one in labels]) for name in FRAME_LABELS}
    return normalise(torch.from_numpy(pool.frames[clips, moments])), as_tensors(joined, FRAME_LABELS)


def _whitening_frames(pool: Pool) -> torch.Tensor:
    """Draw the frames to estimate the whitening from: pixels (frames, 3, 96, 96)."""
    rng = np.random.default_rng(0)
    return torch.cat([_batch(pool, rng)[0] for _ in range(MEASURED_BATCHES)])


def _frame_labels(pool: Pool, clip: int, moment: int) -> dict[str, np.ndarray]:
    timeline = Timeline.of(pool.scenes[clip], (float(pool.recipe.times[moment]),))
    return clip_labels(pool.scenes[clip], timeline, pool.owners[clip, moment : moment + 1])


@torch.no_grad()
def cache_tokens(model: LlavaOnevisionForConditionalGeneration, pool: Pool, path: Path) -> np.ndarray:
    """Encode every frame of a pool into visual tokens float16 (clips, frames, 36, width), cached in a file."""
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
