"""Saliency: the attention that each patch receives in a SigLIP vision tower; some methods use it as importance.

SigLIP has no class token, so saliency is the mean over all heads and queries, at the last layer whose output the model
uses. Fast attention kernels do not return their weights: those of this layer are computed a second time, from its
projections, one frame at a time.
"""

from typing import Any

import torch
from torch import Tensor


def encode_with_saliency(tower: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Run a SigLIP tower; return its output and the saliency of each patch.

    pixels: (frames, 3, image, image). Returns patches (frames, patches, width) and saliency (frames, patches) float32,
    the mean of a column of softmax weights: it sums to 1 over a frame; higher is more attended.
    """
    hidden = tower.embeddings(pixels)
    *before, last = tower.encoder.layers
    for layer in before:
        hidden = layer(hidden, None)
    return last(hidden, None), attention_received(last, hidden)


def attention_received(layer: Any, hidden: Tensor) -> Tensor:
    """Return the mean attention weight of each patch over all heads and queries of one encoder layer.

    hidden: (frames, patches, width), the layer's input. Returns (frames, patches) float32.
    """
    attention = layer.self_attn
    normed = layer.layer_norm1(hidden)
    query, key = (
        projection(normed).unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj)
    )
    received = []
    for q, k in zip(query, key, strict=True):  # by frame: the weights take heads * patches² floats for each
        weights = ((q @ k.transpose(1, 2)).float() * attention.scale).softmax(dim=-1)
        received.append(weights.mean(dim=(0, 1)))
    return torch.stack(received)
