"""Stage 2: train the language model on cached visual tokens, with auxiliary heads and an attention loss."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlavaOnevisionForConditionalGeneration

from training.attention_loss import NAME_LAYER, STATED_LAYER, attention_loss
from training.batches import Batch, TokenPool, frame_count, sample_batch
from training.heads import Heads
from training.labels import ANSWER_LABELS, NAME_LABELS, TOKEN_LABELS
from training.model import TEXT_WIDTH, cosine, parameter_groups
from training.muon import Muon
from training.name_labels import answer_labels, name_labels
from training.packing import NO_NAME, packed_logits, read_video

MATRIX_RATE = 5e-3
OTHER_RATE = 3e-3
DECAY = (
    1.0  # weight decay of matrices, times the rate; without it states grow until the visual tokens' features are lost
)
REPORT_EVERY = 25
CHECKPOINT_EVERY = 100
# Frame order is encoded in rotary positions only, and the answers alone are too weak a signal to learn its use. So
# auxiliary heads predict motion, appearance, change and counts from the visual tokens after this many layers.
AUXILIARY_LAYER = 5
AUXILIARY_WEIGHT = 0.2
ATTENTION_WEIGHT = 0.5
PARTS = 2  # of a batch, computed in parallel threads: matrices this small do not use a second core


@dataclass(frozen=True)
class Phase:
    """A training phase: `steps` batches under one cosine schedule, with a quota of questions.

    rate: factor of the learning rates. lengths: frames of a clip, drawn evenly; if empty, as `frame_count`, whose
    progress runs from `start` to 1. stop: ends the phase after so many batches, before its schedule ends.
    """

    name: str
    steps: int
    quota: dict[str, int]
    rate: float = 1.0
    start: float = 0.0
    lengths: tuple[int, ...] = ()
    stop: int | None = None

    def frames(self, step: int, rng: np.random.Generator) -> int:
        """Draw the number of frames of a batch's clips."""
        if self.lengths:
            return int(rng.choice(self.lengths))
        return frame_count(self.start + (1 - self.start) * step / self.steps, rng)


def make_auxiliary_heads(seed: int) -> torch.nn.ModuleDict:
    """Return the auxiliary heads: on visual tokens, on names, and on names in a deeper layer."""
    torch.manual_seed(seed)
    heads = {"visual": TOKEN_LABELS, "names": NAME_LABELS, "verdicts": ANSWER_LABELS}
    return torch.nn.ModuleDict({asked: Heads(labels, TEXT_WIDTH) for asked, labels in heads.items()})


def train_language(
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: Tokenizer,
    auxiliary: torch.nn.ModuleDict,
    pools: tuple[TokenPool, TokenPool],
    phase: Phase,
    seed: int,
    run: Path,
    report: Callable[[dict], None],
) -> None:
    """Train text model, newline token and auxiliary heads in place, from the phase's checkpoint if there is one."""
    parts = torch.nn.ModuleDict({"text": model.model.language_model, "hints": auxiliary})
    matrices, rest = parameter_groups(parts)
    rest.append(model.model.image_newline)
    optimisers = (
        Muon(matrices, MATRIX_RATE, decay=DECAY),
        torch.optim.AdamW(rest, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    )
    whole = torch.nn.ModuleDict({"model": model, "hints": auxiliary})  # keys of existing checkpoints
    checkpoint = run / f"{phase.name}.pt"
    first = _resume(whole, optimisers, checkpoint)

    def learn(step: int, part: int) -> dict[str, float]:
        """Accumulate the gradients of one part of a batch and return its metrics."""
        drawn = (seed, *phase.name.encode(), step)
        frames = phase.frames(step, np.random.default_rng(drawn))
        batch = sample_batch(tokenizer, pools, phase.quota, frames, np.random.default_rng((*drawn, part)))
        loss, aids, record = batch_losses(model, tokenizer, auxiliary, batch)
        ((loss + aids) / PARTS).backward()
        return record

    recent: list[dict[str, float]] = []
    with ThreadPoolExecutor(PARTS) as threads:
        for step in range(first, phase.stop or phase.steps):
            for optimiser, rate in zip(optimisers, (MATRIX_RATE, OTHER_RATE), strict=True):
                optimiser.param_groups[0]["lr"] = rate * phase.rate * cosine(step, phase.steps, 100)
                optimiser.zero_grad()
            recent.extend(threads.map(partial(learn, step), range(PARTS)))
            torch.nn.utils.clip_grad_norm_(rest, 1.0)
            for optimiser in optimisers:
                optimiser.step()
            if (step + 1) % REPORT_EVERY == 0:
                report({"step": step + 1} | _means(recent))
                recent.clear()
            if (step + 1) % CHECKPOINT_EVERY == 0:
                _keep(whole, optimisers, checkpoint, step + 1)


def batch_losses(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, auxiliary: torch.nn.ModuleDict, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Return a batch's answer loss, the weighted auxiliary and attention losses, and metrics."""
    cache, states = read_video(model, tokenizer, batch.tokens, AUXILIARY_LAYER)
    start = cache.get_seq_length() - batch.tokens.shape[1] - 1  # one newline follows the visual tokens
    labels = {name: label.flatten() for name, label in batch.labels.items()}
    hint_loss, told = auxiliary["visual"].losses(states.flatten(0, 1), labels)
    logits, targets, into = packed_logits(model, cache, batch.pack)
    target, looked = attention_loss(model.model.language_model, into, cache, batch.pack, batch.labels, start)
    is_name = batch.pack.named != NO_NAME
    names = into[NAME_LAYER][is_name]
    name_loss, named = auxiliary["names"].losses(names, name_labels(batch.pack, batch.labels))
    verdict_loss, judged = auxiliary["verdicts"].losses(into[STATED_LAYER][is_name], answer_labels(batch.pack))
    loss = (cross_entropy(logits, targets, reduction="none") * batch.pack.weights).sum()
    accuracy = (logits.argmax(-1) == targets).float().mean().item()
    aids = AUXILIARY_WEIGHT * (hint_loss + name_loss + verdict_loss) + ATTENTION_WEIGHT * target
    return loss, aids, {"loss": loss.item(), "token_accuracy": accuracy} | told | looked | named | judged


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
