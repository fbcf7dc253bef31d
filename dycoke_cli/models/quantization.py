"""Weights in fewer bits: which library does it, on what, and what it leaves alone."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from dycoke_cli.errors import ModelError

# What is small, or what every answer depends on, keeps its format; patterns over module names.
KEPT = [r".*vision_tower", r".*visual", r".*multi_modal_projector", r".*lm_head"]
LIBRARY = {"int8": "torchao", "int4": "bitsandbytes"}  # as transformers calls them too
INSTALL = "Install it with: pip install 'dycoke[quant]'"


def quantization_config(name: str, config: dict[str, Any], dtype: torch.dtype) -> Any:
    """Make what transformers needs to quantise while it loads the model that `config` (its config.json) describes.

    int8: torchao, one scale a row, computed in `dtype`. int4: bitsandbytes' nf4, one scale for 64 weights. Both run on
    CUDA and on a CPU. Raises ModelError where a library is missing or the checkpoint is quantised already.
    """
    if config.get("quantization_config"):
        kind = config["quantization_config"].get("quant_method", "unknown")
        raise ModelError(f"the checkpoint is quantised already ({kind})", "Load it without --quantize")
    needed = ("accelerate", "bitsandbytes") if name == "int4" else ("torchao",)
    for library in needed:
        _require(library, f"--quantize {name}")
    if name == "int4":
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=KEPT,
        )
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=KEPT)


def quantized(model: Any) -> str | None:
    """Say how a loaded model is quantised, by the name of the flag; None: it is not."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    # Equal to the library's name; as text it is the name of an enumeration's member, which is spelt differently.
    return next((name for name, library in LIBRARY.items() if config.quant_method == library), None)


def require_accelerate(flag: str) -> None:
    """Raise ModelError where accelerate is missing."""
    _require("accelerate", flag, "Install it with: pip install 'dycoke[multi]'")


def _require(library: str, flag: str, remedy: str = INSTALL) -> None:
    if find_spec(library) is None:
        raise ModelError(f"{flag} needs {library}, which is not installed", remedy)
    try:
        import_module(library)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{flag} needs {library}, which does not work here: {reason}", remedy) from error


def weight_bytes(model: nn.Module) -> int:
    """Count the bytes that all parameters really take, shared ones once, packed ones as they are packed."""
    return sum(_tensor_bytes(weight) for weight in model.parameters())


def _tensor_bytes(tensor: Any) -> int:
    if hasattr(tensor, "__tensor_flatten__"):  # torchao's: a number format of its own around plain tensors
        parts = (getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
        return sum(_tensor_bytes(part) for part in parts if part is not None)
    packed = tensor.numel() * tensor.element_size()
    state = getattr(tensor, "quant_state", None)  # bitsandbytes': scales beside packed numbers
    return packed + (state.absmax.numel() * state.absmax.element_size() if state is not None else 0)
