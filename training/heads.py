"""Auxiliary linear heads that predict labels from token states; used in training only."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.labels import CLASSES, UNEVEN

NUMBER_WEIGHT = 0.3


class Heads(nn.Module):
    """One linear head for each label, on tokens of a given width."""

    def __init__(self, names: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(width, CLASSES.get(name, 1)) for name in names})

    def losses(self, tokens: Tensor, labels: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Compute losses of tokens (tokens, width) against labels, each (tokens,) float, NaN where not defined.

        Returns the summed loss, and for each label the accuracy (where the class is not 0) or the mean absolute error.
        """
        # Normalised, because growing states would lower these losses and drown all other information.
        tokens = tokens * torch.rsqrt(tokens.square().mean(-1, keepdim=True) + 1e-6)
        loss, report = tokens.new_zeros(()), {}
        for name, head in self.heads.items():
            defined = ~labels[name].isnan()
            truth, predicted = labels[name][defined], head(tokens[defined])
            if len(truth) == 0:
                continue
            if name in CLASSES:
                weights = rarity(truth, CLASSES[name]) if name in UNEVEN else None
                loss = loss + cross_entropy(predicted, truth.long(), weights)
                if (shown := truth > 0).any():
                    report[name] = (predicted.argmax(-1) == truth)[shown].float().mean().item()
            else:
                error = (predicted[:, 0] - truth).abs().mean()
                loss, report[name] = loss + NUMBER_WEIGHT * error, error.item()
        return loss, report


def rarity(truth: Tensor, classes: int) -> Tensor:
    """Return class weights (classes,): the inverse square root of the class counts in `truth` (tokens,)."""
    return torch.bincount(truth.long(), minlength=classes).clamp_min(1).float().rsqrt()


def as_tensors(labels: Mapping[str, object], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Convert the named labels, arrays of any shape, to float32 tensors."""
    return {name: torch.as_tensor(labels[name], dtype=torch.float32) for name in names}
