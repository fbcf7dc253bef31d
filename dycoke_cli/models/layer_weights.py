"""The weights of a decoder layer, taken from the modules of a transformers text model, without its forward."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dycoke_cli.errors import ModelError

# Layers that compute the same: RMSNorm, rotary grouped-query attention, RMSNorm, SwiGLU. Some have biases, some a norm
# of queries and keys. Others of the same parts may scale or add differently, so layers are known by name.
KINDS = (
    "LlamaDecoderLayer",
    "MistralDecoderLayer",
    "Qwen2DecoderLayer",
    "Qwen2_5_VLDecoderLayer",
    "Qwen3DecoderLayer",
    "Qwen3VLTextDecoderLayer",
)
PARTS = {
    "input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    *(f"self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
}  # fmt: skip


class Norm(NamedTuple):
    """An RMSNorm: its weight (width,), and the number that is added to the mean square."""

    weight: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> "Norm":
        return cls(module.weight, float(module.variance_epsilon))


class Projections:
    """Linear layers on the same input, computed as one product where `join` has put their weights side by side.

    Quantised layers are called as the modules that they are.
    """

    def __init__(self, *modules: Any) -> None:
        self.modules = modules
        self.sizes = [module.out_features for module in modules]
        self.joined: tuple[Tensor, Tensor | None] | None = None
        if all(map(_is_plain, modules)):
            biases = [module.bias for module in modules]
            weight = _side_by_side([module.weight for module in modules])
            bias = None if biases == [None] * len(biases) else _side_by_side(biases)
            if weight is not None and (bias is None) == (biases[0] is None):
                self.joined = weight, bias

    @property
    def device(self) -> torch.device:
        return self.modules[0].weight.device

    def __call__(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Return the product with each layer's weights, (..., out_features); parts of one tensor if joined."""
        if self.joined is not None:
            return F.linear(hidden, *self.joined).split(self.sizes, dim=-1)
        return tuple(
            F.linear(hidden, module.weight, module.bias) if _is_plain(module) else module(hidden)
            for module in self.modules
        )


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one decoder layer; references to those of the model, except for views of joined ones."""

    input_norm: Norm
    qkv: Projections
    head_norms: tuple[Norm, Norm] | None  # of queries and of keys, over each head
    output: Projections
    middle_norm: Norm
    gate_up: Projections
    down: Projections

    @classmethod
    def of(cls, layer: Any) -> "LayerWeights":
        """Take the weights of a transformers decoder layer. Raises ModelError for a layer of another kind."""
        _refuse_other_kinds(layer)
        attention, mlp = layer.self_attn, layer.mlp
        normed = getattr(attention, "q_norm", None) is not None
        return cls(
            Norm.of(layer.input_layernorm),
            Projections(attention.q_proj, attention.k_proj, attention.v_proj),
            (Norm.of(attention.q_norm), Norm.of(attention.k_norm)) if normed else None,
            Projections(attention.o_proj),
            Norm.of(layer.post_attention_layernorm),
            Projections(mlp.gate_proj, mlp.up_proj),
            Projections(mlp.down_proj),
        )

    @property
    def device(self) -> torch.device:
        return self.input_norm.weight.device


def join(body: Any) -> None:
    """Put the weights of queries, keys and values into one tensor, and those of gate and up, in each layer of `body`.

    The parameters become views of it, so that the model stays as it was and nothing is held twice. Quantised weights
    stay as they are. To be called on the device on which the model stays: moving a model separates them again. Raises
    ModelError for layers that the engine cannot run.
    """
    for layer in body.layers:
        _refuse_other_kinds(layer)
        attention, mlp = layer.self_attn, layer.mlp
        for group in ((attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)):
            if all(map(_is_plain, group)):
                for name in ("weight", "bias"):
                    parts = [part for module in group if (part := getattr(module, name)) is not None]
                    if len(parts) == len(group) and _side_by_side(parts) is None:
                        joined = torch.cat([part.data for part in parts])
                        for part, view in zip(parts, joined.split([len(part) for part in parts]), strict=True):
                            part.data = view


def _is_plain(module: Any) -> bool:
    """Return whether a module is a linear layer with an ordinary weight: quantised ones have a class of their own."""
    return type(module) is nn.Linear and type(module.weight) is nn.Parameter


def _side_by_side(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Return one tensor over `parts` (rows, ...), if they follow each other in memory in this order, else None."""
    if len(parts) == 1:
        return parts[0]
    present = [part for part in parts if part is not None and part.is_contiguous()]
    if len(present) < len(parts):
        return None
    first = present[0]
    for part, following in pairwise(present):
        same = part.untyped_storage().data_ptr() == following.untyped_storage().data_ptr()
        if not same or following.storage_offset() != part.storage_offset() + part.numel():
            return None
    shape = (sum(map(len, present)), *first.shape[1:])
    # A parameter: the compiler takes the sizes of other tensors to vary.
    return nn.Parameter(first.detach().as_strided(shape, first.stride()), requires_grad=False)


def _refuse_other_kinds(layer: Any) -> None:
    kind = type(layer).__name__
    remedy = "Use a model on Qwen2, Qwen3, Llama or Mistral"
    if kind not in KINDS:
        raise ModelError(f"the text model has layers of the kind {kind}, which dycoke cannot run", remedy)
    for name in _unknown(layer):
        raise ModelError(f"the text model's {kind} has a part {name}, which dycoke cannot run", remedy)
    activation = type(layer.mlp.act_fn).__name__
    if activation not in ("SiLU", "SiLUActivation"):
        raise ModelError(f"the text model has the activation {activation}, which dycoke cannot run", remedy)


def _unknown(layer: Any) -> Iterator[str]:
    """Yield the modules with parameters of their own that are none of PARTS."""
    for name, module in layer.named_modules():
        if name not in PARTS and next(module.parameters(recurse=False), None) is not None:
            yield name
