"""The stock text model and its head, with the sizes that the engine needs."""

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from dycoke_cli.models.flops import TextShape

# Ways to stretch rotary positions after which a config.json may still name the positions from before.
STRETCHED = ("linear", "dynamic", "yarn")


@dataclass(frozen=True)
class LanguageModel:
    """A transformers decoder (`body`) and the linear layer over the vocabulary (`head`)."""

    body: Any
    head: nn.Module

    @property
    def shape(self) -> TextShape:
        """The sizes that its arithmetic and its memory depend on."""
        return TextShape.of(self.body.config)

    @property
    def layers(self) -> int:
        return int(self.body.config.num_hidden_layers)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.body.embed_tokens.weight.device
        return device

    @property
    def layer_devices(self) -> tuple[torch.device, ...]:
        """The device of each layer; they differ where a model is spread over several."""
        return tuple(next(layer.parameters()).device for layer in self.body.layers)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.body.embed_tokens.weight.dtype
        return dtype

    @cached_property
    def cache_argument(self) -> str:
        """By which name `body` and its layers take their cache."""
        return cache_argument(self.body)

    @property
    def context(self) -> int:
        """How many rotary positions the model knows: more than it was first trained on where they are stretched."""
        config = self.body.config
        known, rope = int(config.max_position_embeddings), getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") not in STRETCHED:
            return known
        trained = rope.get("original_max_position_embeddings") or known
        return max(known, int(trained * (rope.get("factor") or 1.0)))

    @property
    def kv_heads(self) -> int:
        return self.shape.kv_heads

    @property
    def head_dim(self) -> int:
        return self.shape.head_dim

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one prompt position takes in the buffer, over all layers."""
        return self.shape.kv_numbers * self.dtype.itemsize


def cache_argument(decoder: nn.Module) -> str:
    """Give the name by which a transformers decoder takes its cache: `cache` from transformers 5.24 on.

    The name is read from the signature of its `forward`: earlier versions accept `cache` among their other arguments,
    ignore it, and run without a cache.
    """
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"
