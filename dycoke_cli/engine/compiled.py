"""Compile the decode step with `torch.compile`, as one graph without breaks for all lengths."""

import logging
import os
import shutil
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from dycoke_cli.engine.decode import DecodeStep, Outcome
from dycoke_cli.engine.operators import Attend, write_tokens
from dycoke_cli.errors import ModelError, UsageError

# A step is compiled once for each method, for one row or several, and for rows of equal or different length. More
# compilations than this in one process mean that a step depends on a value that changes.
KINDS = 64
FIXED = (0, 1, 4, 5)  # axes of a KVBuffer's store with constant size: layers, keys and values, kv_heads, head_dim


def check_compiler(device: torch.device, asked: str = "--compile") -> None:
    """Raise UsageError if Triton or a compiler that torch.compile needs for `device` is missing.

    asked: what needs it, for the message.
    """
    if device.type == "cuda":
        if find_spec("triton") is None:
            raise UsageError(
                f"{asked} needs Triton on CUDA, which is not installed", f"Install it, or leave out {asked}"
            )
        names, label = [os.environ.get("CC", ""), "gcc", "clang", "cc"], "a C compiler"
    else:
        # The same choice as inductor's.
        names = [os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")]
        label = f"the C++ compiler {names[0]!r}"
    if not any(name and shutil.which(name) for name in names):
        raise UsageError(
            f"{asked} needs {label}, which is not installed",
            f"Install one (Debian, Ubuntu: apt install g++), or leave out {asked}",
        )


class Compiler:
    """Wraps a step's `run` in torch.compile with `backend`; CUDA graphs are captured by `graph.cuda_graph`."""

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self.backend = backend
        # With CUDA's tools but no GPU, torch logs a warning in the middle of an answer.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        _register_write()

    def __call__(self, step: DecodeStep) -> Callable[[], Outcome]:
        """Return the compiled `step.run`, compiled at its first call, which raises ModelError if compilation fails."""
        compiled = torch.compile(step.run, fullgraph=True, dynamic=True, backend=self.backend)

        def run() -> Outcome:
            for part in step.parts:
                for store, axis in product(part.buffer.stores, FIXED):
                    torch._dynamo.mark_static(store, axis)
            try:
                # Fractions, as those of norms, are constants of the model; lengths are not.
                with torch._dynamo.config.patch(recompile_limit=KINDS, specialize_float=True):
                    outcome: Outcome = compiled()
            except TorchDynamoException as error:
                reason = " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
                raise ModelError(
                    f"the decode step of this model cannot be compiled: {reason}", "Leave out --compile"
                ) from error
            return outcome

        return run


@cache
def _register_write() -> None:
    """Register `write_tokens` as a custom operator that mutates the store, so that the compiler adds no copies."""
    schema = "(Tensor(a!) store, int layer, Tensor key, Tensor value, Tensor first) -> ()"
    torch.library.custom_op("dycoke::write_tokens", write_tokens, mutates_args={"store"}, schema=schema)


@cache
def opaque(attend: Attend) -> Attend:
    """Register attention in place as a custom operator, which the compiler calls without tracing it."""
    name = getattr(attend, "__name__", "attend")
    schema = "(Tensor query, Tensor store, Tensor newest, Tensor? table) -> Tensor"
    operator = torch.library.custom_op(f"dycoke::{name}", attend, mutates_args=(), schema=schema)

    @operator.register_fake
    def output_like(query: Tensor, store: Tensor, newest: Tensor, table: Tensor | None) -> Tensor:
        return torch.empty_like(query, memory_format=torch.contiguous_format)

    return operator
