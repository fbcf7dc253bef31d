"""LanguageModel: a transformers decoder and its output layer, with the sizes that the engine needs."""

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from dycoke_cli.models.flops import TextShape

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
    def cache_argument(self) -> str:
        """Return the name of the argument by which `body` and its layers take their cache."""
        return cache_argument(self.body)

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


def cache_argument(decoder: nn.Module) -> str:
    """Return the name of the cache argument of a transformers decoder: `cache` from transformers 5.24 on.

    The name is read from the signature of `forward`: earlier versions accept `cache` as an extra keyword, ignore it,
    and run without a cache.
    """
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"
