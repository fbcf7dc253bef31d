"""Refuse logits with NaN or infinity, with which decoding would return token 0 ("!!!!") at every step."""

import torch
from torch import Tensor, nn

from dycoke_cli.errors import ModelError


def refuse_nonfinite(logits: Tensor, model: nn.Module, dtype: torch.dtype) -> None:
    """Raise ModelError, which names the cause, if an answer's first logits contain NaN or infinity.

    logits: (batch, vocabulary); dtype: the model's compute dtype. Synchronizes with the device.
    """
    if bool(logits.isfinite().all()):
        return
    problem = "the model's logits of the first token are not finite"
    name = str(dtype).removeprefix("torch.")
    if broken := next((key for key, weight in model.named_parameters() if not _is_finite(weight)), None):
        raise ModelError(f"{problem}: the weight {broken} contains NaN or infinity", "Fetch the model again")
    if dtype == torch.float16:
        raise ModelError(f"{problem}: its activations are too large for float16", "Use --dtype bfloat16, or float32")
    raise ModelError(f"{problem}: an activation overflows in {name}", "Use --dtype float32, or no --quantize")


def _is_finite(weight: Tensor) -> bool:
    """Return whether a weight is finite; True for quantised weights, which are not checked."""
    plain = weight.is_floating_point() and not hasattr(weight, "__tensor_flatten__")
    return bool(weight.isfinite().all()) if plain else True
