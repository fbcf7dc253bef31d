"""Stage 2: teaches the language model to answer from cached visual tokens, and its middle layers to follow things."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlavaOnevisionForConditionalGeneration

from training.batches import TokenPool, sample_batch
from training.heads import Heads
from training.labels import TOLD
from training.model import TEXT_WIDTH, cosine, parameter_groups
from training.muon import Muon
from training.packing import packed_logits, read_video

MATRIX_RATE = 6e-3
OTHER_RATE = 3e-3
CHECKPOINT_EVERY = 100
# The frames' order reaches the model through rotary positions only, and answers alone teach it too rarely what to make
# of them. So the visual tokens are asked, after this many layers, how their things moved, came, changed and number.
HINT_LAYER = 5
HINT_WEIGHT = 0.15


@dataclass(frozen=True)
class Course:
    """A run of batches under one cosine: its name, its length, what is asked, and its top rate's share of the usual.

    `start` is the progress (0 to 1) at which the lengths of the clips begin.
    """

    name: str
    steps: int
    quota: dict[str, int]
    rate: float = 1.0
    start: float = 0.0

    def progress(self, step: int) -> float:
        """Give the progress at a step."""
        return self.start + (1 - self.start) * step / self.steps


def make_hints(seed: int) -> Heads:
    """Make the heads that ask visual tokens of the language model about their past."""
    torch.manual_seed(seed)
    return Heads(TOLD, TEXT_WIDTH)


def train_language(
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: Tokenizer,
    hints: Heads,
    pools: tuple[TokenPool, TokenPool],
    course: Course,
    seed: int,
    run: Path,
    report: Callable[[dict], None],
) -> None:
    """Train text model, newline token and hint heads in place, going on from the course's checkpoint if it has one."""
    parts = torch.nn.ModuleDict({"text": model.model.language_model, "hints": hints})
    matrices, rest = parameter_groups(parts)
    rest.append(model.model.image_newline)
    optimisers = (
        Muon(matrices, MATRIX_RATE),
        torch.optim.AdamW(rest, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    )
    whole = torch.nn.ModuleDict({"model": model, "hints": hints})
    checkpoint = run / f"{course.name}.pt"
    first = _resume(whole, optimisers, checkpoint)
    recent: list[dict[str, float]] = []
    for step in range(first, course.steps):
        batch = sample_batch(tokenizer, pools, course.quota, course.progress(step), np.random.default_rng((seed, step)))
        cache, states = read_video(model, tokenizer, batch.tokens, HINT_LAYER)
        hint_loss, told = hints.losses(
            states.flatten(0, 1), {name: label.flatten() for name, label in batch.labels.items()}
        )
        logits, targets = packed_logits(model, cache, batch.pack)
        loss = (cross_entropy(logits, targets, reduction="none") * batch.pack.weights).sum()
        for optimiser, rate in zip(optimisers, (MATRIX_RATE, OTHER_RATE), strict=True):
            optimiser.param_groups[0]["lr"] = rate * course.rate * cosine(step, course.steps, 100)
            optimiser.zero_grad()
        (loss + HINT_WEIGHT * hint_loss).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for optimiser in optimisers:
            optimiser.step()
        accuracy = (logits.argmax(-1) == targets).float().mean().item()
        recent.append({"loss": loss.item(), "token_accuracy": accuracy} | told)
        if (step + 1) % 25 == 0:
            report({"step": step + 1} | _means(recent[-25:]))
        if (step + 1) % CHECKPOINT_EVERY == 0:
            _keep(whole, optimisers, checkpoint, step + 1)


def _means(records: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for record in records for name in record)
    return {name: round(float(np.mean([one[name] for one in records if name in one])), 4) for name in names}


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
