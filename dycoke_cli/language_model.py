"""The stock text model and its head, with the sizes that the engine needs."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class LanguageModel:
    """A transformers decoder (`body`) and the linear layer over the vocabulary (`head`)."""

    body: Any
    head: nn.Module

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

    @property
    def kv_heads(self) -> int:
        return int(self.body.config.num_key_value_heads)

    @property
    def head_dim(self) -> int:
        config = self.body.config
        return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one prompt position takes in the buffer, over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype.itemsize
