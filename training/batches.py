"""Sample training batches for the language model: clips from the pools, with tokens dropped, and questions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cosine_similarity

from training.heads import as_tensors
from training.labels import POSITION_LABELS, TOKEN_LABELS, clip_labels
from training.packing import Pack, pack_questions
from training.pool import Pool
from training.question import Question
from training.questions import ask
from training.timeline import Timeline

# Clips in a part of a batch, by number of frames; a part takes about the same time at every length.
BATCH = {2: 5, 4: 4, 8: 4, 16: 4, 24: 3}
DROP_SHARE = 0.45
WINDOW = 4  # frames; dropping keeps the first frame of each window complete


@dataclass(frozen=True)
class TokenPool:
    """A pool of clips with the visual tokens of their frames, float16 (clips, frames, 36, width)."""

    clips: Pool
    tokens: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Visual tokens float32 (clips, tokens, width), their labels, each (clips, tokens), and packed questions."""

    tokens: Tensor
    labels: dict[str, Tensor]
    pack: Pack


def frame_count(progress: float, rng: np.random.Generator) -> int:
    """Draw the number of frames of a batch's clips: 2 to 8 up to progress 0.45, later 16 or any number from 2 to 24."""
    if progress < 0.2:
        return int(rng.choice((2, 4)))
    if progress < 0.45:
        return int(rng.choice((4, 8), p=(0.3, 0.7)))
    return 16 if rng.random() < 0.65 else int(rng.integers(2, 25))


def sample_batch(
    tokenizer: Tokenizer,
    pools: tuple[TokenPool, TokenPool],
    quota: dict[str, int],
    frames: int,
    rng: np.random.Generator,
) -> Batch:
    """Draw a batch of clips of `frames` frames from the pool of short or of long clips."""
    pool = pools[0 if rng.random() < (0.6 if frames <= 4 else 0.0) else 1]
    size = BATCH[min(length for length in BATCH if length >= frames)]
    tokens, labels, questions = [], [], []
    for clip in rng.choice(pool.clips.recipe.clips, size, replace=False).tolist():
        of_clip = _cut(pool, clip, choose_moments(pool.clips.recipe.frames, frames, rng), rng, quota)
        for kept, one in zip((tokens, labels, questions), of_clip, strict=True):
            kept.append(one)
    visual = torch.stack(tokens)
    names = (*TOKEN_LABELS, *POSITION_LABELS)
    told = as_tensors({name: np.stack([one[name] for one in labels]) for name in names}, names)
    if frames >= WINDOW and rng.random() < DROP_SHARE:
        visual, told = drop_tokens(visual, told, float(rng.uniform(0.15, 1.0)), rng)
    flat = {name: label.flatten(1) for name, label in told.items()}
    return Batch(visual.flatten(1, -2), flat, pack_questions(tokenizer, questions))


def choose_moments(there: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `frames` evenly spaced frame indices from a clip of `there` frames, forwards or backwards."""
    span = there - 1 if there <= frames or rng.random() < 0.6 else int(rng.integers(max(frames, there // 2), there))
    start = int(rng.integers(there - span))
    moments = np.linspace(start, start + span, frames).round().astype(int)
    return moments[::-1] if rng.random() < 0.5 else moments


def _cut(
    pool: TokenPool, clip: int, moments: np.ndarray, rng: np.random.Generator, quota: dict[str, int]
) -> tuple[Tensor, dict[str, np.ndarray], list[Question]]:
    scene = pool.clips.scenes[clip]
    timeline = Timeline.of(scene, pool.clips.recipe.times[moments].tolist())
    labels = clip_labels(scene, timeline, pool.clips.owners[clip][moments])
    tokens = torch.from_numpy(pool.tokens[clip][moments].astype(np.float32))
    return tokens, labels, ask(timeline, rng, quota)


def drop_tokens(
    tokens: Tensor, labels: dict[str, Tensor], share: float, rng: np.random.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Keep the first frame of every window, and `share` of the other tokens, preferring changed ones.

    Tokens (clips, frames, 36, width) become (clips, 1, kept, width), in their order; labels are selected alike.
    """
    clips, frames, places, width = tokens.shape
    change = 1 - cosine_similarity(tokens[:, 1:], tokens[:, :-1], dim=-1)
    score = torch.cat((torch.full((clips, 1, places), torch.inf), change), dim=1)
    # Unchanged tokens differ by noise only; the random term keeps the model from relying on which of them remain.
    score = score + torch.from_numpy(rng.exponential(0.1, score.shape)).float()
    score[:, ::WINDOW] = torch.inf
    whole = len(range(0, frames, WINDOW))
    kept = whole * places + round(share * (frames - whole) * places)
    order = score.flatten(1).topk(kept, dim=1).indices.sort(dim=1).values
    gathered = tokens.flatten(1, 2).gather(1, order[..., None].expand(-1, -1, width))[:, None]
    return gathered, {name: label.flatten(1).gather(1, order)[:, None] for name, label in labels.items()}
