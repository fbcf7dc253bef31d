"""Labels of the names in questions: targets of the auxiliary heads on name tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from training.packing import NO_NAME, UNLABELLED, Pack

APART = 0.5  # tokens; things closer than this have no side


def name_labels(pack: Pack, labels: dict[str, Tensor]) -> dict[str, Tensor]:
    """Label the names of a pack; each label (names,) float32, NaN where not defined.

    labels: "thing", "x" and "y" of each visual token, (clips, visual). fits: whether a name fits a thing. named_x,
    named_y: mean centre, in tokens, of the one thing it fits. beside_x, beside_y: whether that lies further left (1) or
    right (2), further up (1) or down (2), than the thing of the previous name in the same question.
    """
    is_name = pack.named != NO_NAME
    alone = is_name & (pack.named > 0) & (pack.named & (pack.named - 1) == 0)
    fits = fitting(pack, labels["thing"])
    before = name_before(pack)
    told = {"fits": (pack.named > 0).float()}
    for axis in ("x", "y"):
        known = fits & ~labels[axis].isnan()[:, None]
        mean = (known * labels[axis].nan_to_num()[:, None]).sum(-1) / known.sum(-1)
        place = torch.where(alone, mean, torch.nan)
        told[f"named_{axis}"] = place
        other = torch.where(before.any(-1), place.gather(1, before.int().argmax(-1)), torch.nan)
        side = torch.where(place < other, 1.0, 2.0)
        told[f"beside_{axis}"] = torch.where((place - other).abs() > APART, side, torch.nan)
    return {name: label[is_name] for name, label in told.items()}


def answer_labels(pack: Pack) -> dict[str, Tensor]:
    """Label the names of a pack by the answer; each label (names,) float32, NaN where not defined.

    said: whether the answer contains this name (1) or another one of the question (2), for names after another name:
    attention is causal, so the first of two cannot attend to the second. holds: the answer is yes (1) or no (2).
    """
    is_name = pack.named != NO_NAME
    compared = name_before(pack).any(-1)
    known = {"said": (pack.said != UNLABELLED) & compared, "holds": pack.holds != UNLABELLED}
    values = {"said": pack.said, "holds": pack.holds}
    return {name: torch.where(known[name], 2.0 - value, torch.nan)[is_name] for name, value in values.items()}


def fitting(pack: Pack, thing: Tensor) -> Tensor:
    """Mark the visual tokens of the things that each name fits: bool (clips, tokens, visual), thing (clips, visual)."""
    bits = pack.named.clamp_min(0)[:, :, None] >> thing.clamp_min(0).long()[:, None]
    return (bits & 1 == 1) & (thing >= 0)[:, None]


def name_before(pack: Pack) -> Tensor:
    """Mark the previous name of each name in the same question: bool (clips, tokens, tokens)."""
    is_name = pack.named != NO_NAME
    same = (pack.owners[:, :, None] == pack.owners[:, None, :]) & is_name[:, :, None] & is_name[:, None, :]
    earlier = same.tril(-1)
    return earlier & (earlier.cumsum(-1) == earlier.sum(-1, keepdim=True))
