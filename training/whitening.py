"""Whiten the visual tokens, so that positions and backgrounds have as much variance as shapes and colours."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlavaOnevisionForConditionalGeneration

from training.model import frame_tokens

# Directions below this share of the greatest variance are noise, and are not scaled up.
FLOOR = 3e-4


def whitening(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrix (width, width) and the offset (width,) that whiten tokens (tokens, width), float32."""
    mean = tokens.mean(0)
    centred = tokens - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(tokens))
    scales = variances.clamp_min(FLOOR * variances.max()) ** -0.5
    matrix = directions @ torch.diag(scales) @ directions.T
    return matrix, -mean @ matrix


@torch.no_grad()
def whiten(model: LlavaOnevisionForConditionalGeneration, pixels: Tensor) -> None:
    """Change a model's projector so that its visual tokens of `pixels`, float (frames, 3, 96, 96), are white.

    Pooling is a mean over tokens, so an affine map before it equals the same map after it.
    """
    matrix, offset = whitening(frame_tokens(model, pixels).flatten(0, 1))
    last = model.model.multi_modal_projector.linear_2
    last.weight.copy_(matrix.T @ last.weight)
    last.bias.copy_(last.bias @ matrix + offset)
