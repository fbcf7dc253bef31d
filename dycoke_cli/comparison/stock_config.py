"""The configurations of transformers' own `generate`: greedy, as it is called by default or in its fastest way."""

from typing import Any

import torch
from transformers import CompileConfig, GenerationConfig

from dycoke_cli.errors import ModelError
from dycoke_cli.methods.parsing import STOCK_COMPILED

# All set explicitly, because the checkpoint's generation_config.json supplies every value that is not set.
GREEDY: dict[str, Any] = {
    "do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "temperature": 1.0, "top_p": 1.0, "top_k": 50,
}  # fmt: skip
STATIC = {"cache_implementation": "static"}


class CompileFailed(ModelError):
    """The forward of `generate:compiled` cannot be compiled."""


def generation_of(label: str, device: torch.device, **lengths: Any) -> GenerationConfig:
    """Return the configuration of greedy `generate` for one of `STOCKS`; lengths: its end tokens and length.

    The compiled one is transformers' documented fast path: a static cache, which has room for the prompt and the new
    tokens, and a forward that is compiled for the decode steps.
    """
    fast = {**STATIC, "compile_config": compile_config(device)} if label == STOCK_COMPILED else {}
    return GenerationConfig(**lengths, **GREEDY, **fast)


def compile_config(device: torch.device) -> CompileConfig:
    """Return transformers' default way of compiling, with fixed shapes for every length."""
    # By default the second length is compiled with open shapes, and its steps could be slower than in its own process.
    config = CompileConfig(dynamic=False)
    if device.type != "cuda":
        config._compile_all_devices = True  # otherwise `generate` compiles on accelerators only
    return config


def options_of(label: str) -> dict[str, Any]:
    """Return what one of `STOCKS` sets besides greedy decoding, for JSON records."""
    return dict(STATIC) if label == STOCK_COMPILED else {}
