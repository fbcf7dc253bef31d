"""Answers are not made of scores that are no numbers: NaN picks token 0, and a model says "!!!!" without end."""

import torch
from torch import Tensor, nn

from dycoke_cli.errors import ModelError


def refuse_nonfinite(logits: Tensor, model: nn.Module, dtype: torch.dtype) -> None:
    """Raise ModelError, naming the cause, where an answer's first scores hold NaN or infinity.

    logits: (batch, vocabulary); dtype: what the model computes in. Waits for the device.
    """
    if bool(logits.isfinite().all()):
        return
    what = "the model's scores for the first token are not numbers"
    name = str(dtype).removeprefix("torch.")
    if broken := next((key for key, weight in model.named_parameters() if not _is_finite(weight)), None):
        raise ModelError(f"{what}: the weight {broken} holds NaN or infinity", "Fetch the model again")
    if dtype == torch.float16:
        raise ModelError(f"{what}: its activations are too large for float16", "Use --dtype bfloat16, or float32")
    raise ModelError(f"{what}: something overflows in {name}", "Use --dtype float32, or no --quantize")


def _is_finite(weight: Tensor) -> bool:
    """Look at plain numbers only; those of a quantised weight are integers and their scales."""
    plain = weight.is_floating_point() and not hasattr(weight, "__tensor_flatten__")
    return bool(weight.isfinite().all()) if plain else True
