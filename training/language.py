"""Stage 2: teaches the language model to answer from cached visual tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers import LlavaOnevisionForConditionalGeneration

from training.model import cosine, parameter_groups
from training.muon import Muon
from training.packing import Pack, pack_questions, packed_logits
from training.pool import Pool
from training.questions import ask

MATRIX_RATE = 6e-3
OTHER_RATE = 3e-3
CHECKPOINT_EVERY = 100
# Clips in a batch, by the number of frames; a batch costs about the same at every length.
BATCH = {2: 24, 4: 20, 8: 12, 16: 8}
DROP_SHARE = 0.35
WINDOW = 4


@dataclass(frozen=True)
class Course:
    """A run of batches under one cosine: its name, its length, what is asked, and its top rate's share of the usual.

    `start` is the progress (0 to 1) at which the lengths of the clips begin; `short_share` of the batches have 2 or 4
    frames whatever the progress.
    """

    name: str
    steps: int
    quota: dict[str, int]
    rate: float = 1.0
    start: float = 0.0
    short_share: float = 0.0

    def progress(self, step: int) -> float:
        """Give the progress at a step."""
        return self.start + (1 - self.start) * step / self.steps


@dataclass(frozen=True)
class TokenPool:
    """A pool of clips with the visual tokens of their frames, float16 (clips, frames, 36, width)."""

    clips: Pool
    tokens: np.ndarray


def train_language(
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: Tokenizer,
    pools: tuple[TokenPool, TokenPool],
    course: Course,
    seed: int,
    run: Path,
    report: Callable[[dict], None],
) -> None:
    """Train the text model and the newline token in place, going on from the course's checkpoint if there is one."""
    trained = torch.nn.ModuleDict({"text": model.model.language_model})
    matrices, rest = parameter_groups(trained)
    rest.append(model.model.image_newline)
    optimisers = (
        Muon(matrices, MATRIX_RATE),
        torch.optim.AdamW(rest, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    )
    checkpoint = run / f"{course.name}.pt"
    first = _resume(model, optimisers, checkpoint)
    recent: list[tuple[float, float]] = []
    for step in range(first, course.steps):
        tokens, pack = sample_batch(tokenizer, pools, course, step, seed)
        logits, targets = packed_logits(model, tokenizer, tokens, pack)
        loss = cross_entropy(logits, targets)
        for optimiser, rate in zip(optimisers, (MATRIX_RATE, OTHER_RATE), strict=True):
            optimiser.param_groups[0]["lr"] = rate * course.rate * cosine(step, course.steps, 100)
            optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for optimiser in optimisers:
            optimiser.step()
        recent.append((loss.item(), (logits.argmax(-1) == targets).float().mean().item()))
        if (step + 1) % 25 == 0:
            mean_loss, accuracy = np.mean(recent[-25:], axis=0).round(4).tolist()
            report({"step": step + 1, "loss": mean_loss, "token_accuracy": accuracy})
        if (step + 1) % CHECKPOINT_EVERY == 0:
            _keep(model, optimisers, checkpoint, step + 1)


def _keep(model: torch.nn.Module, optimisers: tuple[torch.optim.Optimizer, ...], path: Path, step: int) -> None:
    part = path.with_suffix(".part")
    torch.save(
        {"model": model.state_dict(), "optimisers": [one.state_dict() for one in optimisers], "step": step}, part
    )
    part.rename(path)


def _resume(model: torch.nn.Module, optimisers: tuple[torch.optim.Optimizer, ...], path: Path) -> int:
    if not path.exists():
        return 0
    kept = torch.load(path)
    model.load_state_dict(kept["model"])
    for optimiser, state in zip(optimisers, kept["optimisers"], strict=True):
        optimiser.load_state_dict(state)
    return kept["step"]


def frame_count(progress: float, short_share: float, rng: np.random.Generator) -> int:
    """Choose how many frames the clips of a batch have: few at first, 16 or any number in the second half."""
    if progress < 0.3 or (short_share and rng.random() < short_share):
        return int(rng.choice((2, 4)))
    if progress < 0.5:
        return int(rng.choice((4, 8), p=(0.3, 0.7)))
    return 16 if rng.random() < 0.75 else int(rng.integers(2, 25))


def sample_batch(
    tokenizer: Tokenizer, pools: tuple[TokenPool, TokenPool], course: Course, step: int, seed: int
) -> tuple[torch.Tensor, Pack]:
    """Draw the batch of a step: visual tokens float32 (clips, tokens, width) and the packed questions."""
    rng = np.random.default_rng((seed, step))
    frames = frame_count(course.progress(step), course.short_share, rng)
    pool = pools[0 if rng.random() < (0.8 if frames <= 4 else 0.3) else 1]
    size = BATCH[min((length for length in BATCH if length >= frames), default=16)]
    chosen = rng.choice(pool.tokens.shape[0], size, replace=False)
    moments = np.linspace(0, pool.tokens.shape[1] - 1, frames).round().astype(int)
    clips, questions = [], []
    for clip in chosen:
        backwards = bool(rng.random() < 0.5)
        tokens = pool.tokens[clip][moments[::-1] if backwards else moments]
        clips.append(torch.from_numpy(tokens.astype(np.float32)))
        questions.append(ask(pool.clips.scene(int(clip)), rng, course.quota, backwards))
    visual = torch.stack(clips)
    if frames >= WINDOW and rng.random() < DROP_SHARE:
        visual = drop_tokens(visual, float(rng.uniform(0.3, 1.0)), rng)
    return visual.flatten(1, -2), pack_questions(tokenizer, questions)


def drop_tokens(tokens: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """Keep the first frame of every window, and `share` of the other tokens, those that changed being likelier.

    Tokens (clips, frames, 36, width) become (clips, 1, kept, width), in their order.
    """
    clips, frames, places, width = tokens.shape
    change = 1 - cosine_similarity(tokens[:, 1:], tokens[:, :-1], dim=-1)
    score = torch.cat((torch.full((clips, 1, places), torch.inf), change), dim=1)
    # Still tokens differ by noise only; the draw keeps the model from relying on which of them are left.
    score = score + torch.from_numpy(rng.exponential(0.1, score.shape)).float()
    score[:, ::WINDOW] = torch.inf
    whole = len(range(0, frames, WINDOW))
    kept = whole * places + round(share * (frames - whole) * places)
    order = score.flatten(1).topk(kept, dim=1).indices.sort(dim=1).values
    return tokens.flatten(1, 2).gather(1, order[..., None].expand(-1, -1, width))[:, None]
