"""Quantised weights, int8 and int4: the libraries, the modules they leave unquantised, and bytes of parameters."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from dycoke_cli.errors import ModelError

# Modules that keep their format, because they are small or every answer depends on them; patterns over module names.
KEPT = [r".*vision_tower", r".*visual", r".*multi_modal_projector", r".*lm_head"]
LIBRARY = {"int8": "torchao", "int4": "bitsandbytes"}  # the names are also transformers' quantisation methods
INSTALL = "Install it with: pip install 'dycoke[quant]'"


def quantization_config(name: str, config: dict[str, Any], dtype: torch.dtype) -> Any:
    """Build the transformers configuration that quantises a model while it is loaded.

    name: int8 (torchao, one scale per row, computed in `dtype`) or int4 (bitsandbytes' nf4, one scale per 64 weights);
    both run on CUDA and on a CPU. config: the checkpoint's config.json.
    Raises ModelError if a library is missing or the checkpoint is quantised already.
    """
    if config.get("quantization_config"):
        kind = config["quantization_config"].get("quant_method", "unknown")
        raise ModelError(f"the checkpoint is quantised already ({kind})", "Load it without --quantize")
    needed = ("accelerate", "bitsandbytes") if name == "int4" else ("torchao",)
    for library in needed:
        require(library, f"--quantize {name}")
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
    """Return the quantisation of a loaded model, int8 or int4; None if it has none of these."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    # quant_method is an enumeration's member that equals the library's name; str() of it would differ.
    return next((name for name, library in LIBRARY.items() if config.quant_method == library), None)


def require(library: str, flag: str, remedy: str = INSTALL) -> None:
    """Raise ModelError if a library that a flag needs is missing or broken."""
    if find_spec(library) is None:
        raise ModelError(f"{flag} needs {library}, which is not installed", remedy)
    try:
        import_module(library)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{flag} needs {library}, which cannot be imported: {reason}", remedy) from error


def stored_bytes(tensor: Any) -> int:
    """Return the stored bytes of a parameter: packed if quantised, with its scales."""
    if hasattr(tensor, "__tensor_flatten__"):  # torchao: a tensor subclass around plain tensors
        parts = (getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
        return sum(stored_bytes(part) for part in parts if part is not None)
    packed = tensor.numel() * tensor.element_size()
    state = getattr(tensor, "quant_state", None)  # bitsandbytes: scales beside packed weights
    return packed + (state.absmax.numel() * state.absmax.element_size() if state is not None else 0)
