"""Throw-away heads that ask visual tokens what they know."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.labels import CLASSES, UNEVEN

NUMBER_WEIGHT = 0.3


class Heads(nn.Module):
    """One linear head a label on tokens of a given width."""

    def __init__(self, names: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(width, CLASSES.get(name, 1)) for name in names})

    def losses(self, tokens: Tensor, labels: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Compare tokens (tokens, width) with labels, each (tokens,) float with NaN where it says nothing.

        Returns the summed loss, and for each label the share of right classes (where the class is not 0) or the mean
        miss.
        """
        # On raw states the heads would be served best by ever larger ones, in which all else drowns.
        tokens = tokens * torch.rsqrt(tokens.square().mean(-1, keepdim=True) + 1e-6)
        loss, report = tokens.new_zeros(()), {}
        for name, head in self.heads.items():
            told = ~labels[name].isnan()
            truth, said = labels[name][told], head(tokens[told])
            if len(truth) == 0:
                continue
            if name in CLASSES:
                weights = rarity(truth, CLASSES[name]) if name in UNEVEN else None
                loss = loss + cross_entropy(said, truth.long(), weights)
                if (shown := truth > 0).any():
                    report[name] = (said.argmax(-1) == truth)[shown].float().mean().item()
            else:
                miss = (said[:, 0] - truth).abs().mean()
                loss, report[name] = loss + NUMBER_WEIGHT * miss, miss.item()
        return loss, report


def rarity(truth: Tensor, classes: int) -> Tensor:
    """Weigh each class by the inverse root of how often it comes: (classes,) from (tokens,)."""
    return torch.bincount(truth.long(), minlength=classes).clamp_min(1).float().rsqrt()


def as_tensors(labels: Mapping[str, object], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Turn the named labels, arrays of any shape, into float32 tensors."""
    return {name: torch.as_tensor(labels[name], dtype=torch.float32) for name in names}
