"""The decoder: one plain forward over the layers of a text model, for prefill and decode steps.

The weights are those of the transformers modules; none of their forwards is called, besides that of the module that
computes the angles of rotary positions. gpt-fast and nano-vllm are its models.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dycoke_cli.engine.operators import Operators
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.models.layer_weights import LayerWeights

# Positions whose feed-forward network is computed at once: its values are the widest of a layer.
PIECE = {"cpu": 1024, "cuda": 4096}


class Attention(Protocol):
    """Where a layer stores the keys and values of new tokens, and what their queries read."""

    def place(self, layer: int) -> tuple[Tensor, int, Tensor]:
        """Return the store of a layer, its index there, and each row's first new slot; see `rotate_and_store`."""
        ...

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """Return the attention of `query` (batch, new, heads, head_dim) over stored keys, in the same shape."""
        ...


class Decoder(nn.Module):
    """The forward of a text model, with a set of operators for what is between the matrix products.

    It is a module because a compiler takes the numbers that a module holds as constants, and those of other objects as
    values that change.
    """

    def __init__(self, model: LanguageModel, operators: Operators) -> None:
        super().__init__()
        self.model, self.operators = model, operators
        self.layers, self.norm, self.output = model.weights, model.norm, model.output

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the embeddings of token ids: (batch, new) int64 to (batch, new, hidden)."""
        return F.embedding(tokens, self.model.embedding)

    def run(
        self,
        hidden: Tensor,
        positions: Tensor,
        attention: Attention,
        layers: Iterable[int] | None = None,
        after_layer: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Run `hidden` (batch, new, hidden) through `layers`, all by default; returns it after the last of them.

        positions: rotary positions in the layout of transformers, (batch, new), or (3, batch, new). after_layer: is
        called with the number of a layer and the hidden states after it, which it may change in place.
        """
        cos, sin = self.model.rotary(hidden, positions)
        update: Tensor | None = None  # the last layer's output, which the next norm adds to the hidden states
        for number in range(len(self.layers)) if layers is None else layers:
            layer = self.layers[number]
            if layer.device != hidden.device:  # a model may be on several devices
                hidden, cos, sin = (each.to(layer.device) for each in (hidden, cos, sin))
                update = None if update is None else update.to(layer.device)
            with _current(layer.device):
                hidden, update = self._layer(number, layer, hidden, update, cos, sin, attention)
            if after_layer is not None:
                hidden, update = hidden + update, None
                after_layer(number, hidden)
        return hidden if update is None else hidden + update

    def _layer(
        self,
        number: int,
        layer: LayerWeights,
        hidden: Tensor,
        update: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        attention: Attention,
    ) -> tuple[Tensor, Tensor]:
        """Run one layer. Returns the hidden states before its feed-forward network, and the output of that."""
        if update is None:
            normed = self.operators.norm(hidden, *layer.input_norm)
        else:
            hidden, normed = self.operators.add_norm(update, hidden, *layer.input_norm)
        update = self._attention(number, layer, normed, cos, sin, attention)
        hidden, normed = self.operators.add_norm(update, hidden, *layer.middle_norm)
        return hidden, self._feed_forward(layer, normed)

    def _attention(
        self, number: int, layer: LayerWeights, normed: Tensor, cos: Tensor, sin: Tensor, attention: Attention
    ) -> Tensor:
        parts = layer.qkv(normed)
        query = self.operators.rotate_and_store(*parts, cos, sin, layer.head_norms, *attention.place(number))
        del parts  # of a long prompt the largest tensor; keys and values are in the buffer
        (output,) = layer.output(attention.attend(number, query).flatten(2))
        return output

    def _feed_forward(self, layer: LayerWeights, normed: Tensor) -> Tensor:
        """Compute the feed-forward network in pieces of the prompt; several of them overwrite `normed`."""
        # Pieces of one size, whose memory an allocator uses again.
        count = math.ceil(normed.shape[0] * normed.shape[1] / PIECE[normed.device.type])
        pieces = normed.split(math.ceil(normed.shape[1] / count), dim=1)
        for piece in pieces:
            (output,) = layer.down(self.operators.silu_multiply(*layer.gate_up(piece)))
            if len(pieces) == 1:
                return output
            piece.copy_(output)
        return normed

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the next-token logits (batch, new, vocabulary) of hidden states after all layers."""
        device = self.norm.weight.device
        with _current(device):
            normed = self.operators.norm(hidden.to(device), *self.norm)
        (logits,) = self.output(normed.to(self.output.device))
        return logits.to(self.model.device)


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Make `device` the current one, on which Triton starts its kernels."""
    eager = device.type == "cuda" and not torch.compiler.is_compiling()
    return torch.cuda.device(device) if eager else nullcontext()
