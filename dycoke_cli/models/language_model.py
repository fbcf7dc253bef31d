"""LanguageModel: a transformers decoder and its output layer, with the sizes that the engine needs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from dycoke_cli.models.flops import TextShape
from dycoke_cli.models.layer_weights import LayerWeights, Norm, Projections

# Rotary scaling types for which max_position_embeddings may still be the number of positions before scaling.
SCALED = ("linear", "dynamic", "yarn")


@dataclass(frozen=True)
class LanguageModel:
    """A transformers decoder (`body`) and the linear layer over the vocabulary (`head`)."""

    body: Any
    head: nn.Module

    @property
    def shape(self) -> TextShape:
        return TextShape.of(self.body.config)

    @property
    def layers(self) -> int:
        return int(self.body.config.num_hidden_layers)

    @property
    def device(self) -> torch.device:
        return self.body.embed_tokens.weight.device

    @property
    def layer_devices(self) -> tuple[torch.device, ...]:
        """Return the device of each layer; they differ if the model is spread over several."""
        return tuple(next(layer.parameters()).device for layer in self.body.layers)

    @property
    def dtype(self) -> torch.dtype:
        return self.body.embed_tokens.weight.dtype

    @cached_property
    def weights(self) -> tuple[LayerWeights, ...]:
        """Return the weights of each layer. Raises ModelError for layers that the engine cannot run."""
        return tuple(map(LayerWeights.of, self.body.layers))

    @cached_property
    def output(self) -> Projections:
        """Return the linear layer over the vocabulary."""
        return Projections(self.head)

    @property
    def embedding(self) -> Tensor:
        """Return the embeddings of tokens (vocabulary, hidden)."""
        return self.body.embed_tokens.weight

    @property
    def norm(self) -> Norm:
        """Return the norm after the last layer."""
        return Norm.of(self.body.norm)

    def rotary(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cosine and sine of the rotary angles, two (batch, new, head_dim) in the dtype of `hidden`.

        positions: (batch, new), or (3, batch, new) in families that count frames, rows and columns.
        """
        angles = self.body.rotary_emb
        if positions.dim() == 2 and hasattr(angles, "mrope_section"):
            positions = positions.expand(3, *positions.shape)
        cos, sin = angles(hidden, positions)
        return cos, sin

    @property
    def context(self) -> int:
        """Return how many rotary positions the model supports, rotary scaling included."""
        config = self.body.config
        configured, rope = int(config.max_position_embeddings), getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") not in SCALED:
            return configured
        trained = rope.get("original_max_position_embeddings") or configured
        return max(configured, int(trained * (rope.get("factor") or 1.0)))

    @property
    def kv_heads(self) -> int:
        return self.shape.kv_heads

    @property
    def head_dim(self) -> int:
        return self.shape.head_dim

    @property
    def kv_bytes_per_token(self) -> int:
        """Return the bytes of one slot of the key-value buffer, over all layers."""
        return self.shape.kv_values_per_position * self.dtype.itemsize
