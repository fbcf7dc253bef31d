"""Stage 2: teaches the language model to answer from cached visual tokens, to follow things and to look at them."""

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

from training.batches import Batch, TokenPool, frame_count, sample_batch
from training.gazing import NAME_LAYER, TOLD_LAYER, gaze_loss
from training.heads import Heads
from training.labels import NAMES, TOLD, VERDICTS
from training.model import TEXT_WIDTH, cosine, parameter_groups
from training.muon import Muon
from training.naming import name_labels, verdict_labels
from training.packing import NO_NAME, packed_logits, read_video

MATRIX_RATE = 5e-3
OTHER_RATE = 3e-3
DECAY = 1.0  # of matrices, times the rate: without it states grow until the visual tokens' own features drown in them
REPORT_EVERY = 25
CHECKPOINT_EVERY = 100
# The frames' order reaches the model through rotary positions only, and answers alone teach it too rarely what to make
# of them. So the visual tokens are asked, after this many layers, how their things moved, came, changed and number.
HINT_LAYER = 5
HINT_WEIGHT = 0.2
GAZE_WEIGHT = 0.5
PARTS = 2  # that a batch is computed in, side by side: matrices this small keep no second core busy


@dataclass(frozen=True)
class Course:
    """A run of batches under one cosine: its name, its length, what is asked, and its top rate's share of the usual.

    Clips have any of the `lengths`, in frames; where there are none given, they grow, from the progress `start` (0 to
    1) on. A course that is stopped after `stop` batches leaves its cosine unfinished.
    """

    name: str
    steps: int
    quota: dict[str, int]
    rate: float = 1.0
    start: float = 0.0
    lengths: tuple[int, ...] = ()
    stop: int | None = None

    def frames(self, step: int, rng: np.random.Generator) -> int:
        """Choose how many frames the clips of a batch have."""
        if self.lengths:
            return int(rng.choice(self.lengths))
        return frame_count(self.start + (1 - self.start) * step / self.steps, rng)


def make_hints(seed: int) -> torch.nn.ModuleDict:
    """Make the heads that ask tokens of the language model: visual ones about their past, names about their things."""
    torch.manual_seed(seed)
    heads = {"visual": TOLD, "names": NAMES, "verdicts": VERDICTS}
    return torch.nn.ModuleDict({asked: Heads(labels, TEXT_WIDTH) for asked, labels in heads.items()})


def train_language(
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: Tokenizer,
    hints: torch.nn.ModuleDict,
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
        Muon(matrices, MATRIX_RATE, decay=DECAY),
        torch.optim.AdamW(rest, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    )
    whole = torch.nn.ModuleDict({"model": model, "hints": hints})
    checkpoint = run / f"{course.name}.pt"
    first = _resume(whole, optimisers, checkpoint)

    def learn(step: int, part: int) -> dict[str, float]:
        """Add the gradients of one part of a batch to the others', and record how it went."""
        drawn = (seed, *course.name.encode(), step)
        frames = course.frames(step, np.random.default_rng(drawn))
        batch = sample_batch(tokenizer, pools, course.quota, frames, np.random.default_rng((*drawn, part)))
        loss, aids, record = batch_losses(model, tokenizer, hints, batch)
        ((loss + aids) / PARTS).backward()
        return record

    recent: list[dict[str, float]] = []
    with ThreadPoolExecutor(PARTS) as threads:
        for step in range(first, course.stop or course.steps):
            for optimiser, rate in zip(optimisers, (MATRIX_RATE, OTHER_RATE), strict=True):
                optimiser.param_groups[0]["lr"] = rate * course.rate * cosine(step, course.steps, 100)
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
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, hints: torch.nn.ModuleDict, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Give a batch's loss of answers, the weighted loss of hints and gazes, and a record of both."""
    cache, states = read_video(model, tokenizer, batch.tokens, HINT_LAYER)
    start = cache.get_seq_length() - batch.tokens.shape[1] - 1  # one newline follows the visual tokens
    labels = {name: label.flatten() for name, label in batch.labels.items()}
    hint_loss, told = hints["visual"].losses(states.flatten(0, 1), labels)
    logits, targets, into = packed_logits(model, cache, batch.pack)
    gaze, looked = gaze_loss(model.model.language_model, into, cache, batch.pack, batch.labels, start)
    is_name = batch.pack.named != NO_NAME
    names = into[NAME_LAYER][is_name]
    name_loss, named = hints["names"].losses(names, name_labels(batch.pack, batch.labels))
    verdict_loss, judged = hints["verdicts"].losses(into[TOLD_LAYER][is_name], verdict_labels(batch.pack))
    loss = (cross_entropy(logits, targets, reduction="none") * batch.pack.weights).sum()
    accuracy = (logits.argmax(-1) == targets).float().mean().item()
    aids = HINT_WEIGHT * (hint_loss + name_loss + verdict_loss) + GAZE_WEIGHT * gaze
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
