"""How much attention each patch receives in the vision tower: what some methods take for importance.

SigLIP has no class token whose attention could say it, so it is the mean over all heads and all queries, at the last
layer whose output the model uses. Fast attention kernels do not give their weights: this one layer's are computed a
second time, from its own projections, one frame at a time.
"""

from typing import Any

import torch
from torch import Tensor


def encode_watched(tower: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Run a SigLIP tower as its own encoder does, and say how much attention each patch receives.

    pixels: (frames, 3, image, image). Returns patches (frames, patches, width) and saliency (frames, patches) float32,
    the mean of a column of softmax weights: it sums to 1 over a frame, and higher is more attended.
    """
    hidden = tower.embeddings(pixels)
    *before, last = tower.encoder.layers
    for layer in before:
        hidden = layer(hidden, None)
    return last(hidden, None), attention_received(last, hidden)


def attention_received(layer: Any, hidden: Tensor) -> Tensor:
    """Give the mean attention weight that each patch gets from all heads and queries of one encoder layer.

    hidden: (frames, patches, width), what enters the layer. Returns (frames, patches) float32.
    """
    attention = layer.self_attn
    normed = layer.layer_norm1(hidden)
    query, key = (
        projection(normed).unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj)
    )
    received = []
    for q, k in zip(query, key, strict=True):  # a frame's weights are heads * patches² floats; a chunk's are too many
        weights = ((q @ k.transpose(1, 2)).float() * attention.scale).softmax(dim=-1)
        received.append(weights.mean(dim=(0, 1)))
    return torch.stack(received)
