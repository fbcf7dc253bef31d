"""The decode step through `torch.compile`: one graph without a break, whatever the lengths are."""

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

from dycoke_cli.engine.cache import put_token
from dycoke_cli.engine.decode import DecodeStep, Outcome
from dycoke_cli.engine.decode_pass import Kernel
from dycoke_cli.errors import ModelError, UsageError

# Steps differ by method, by one row or several, and by rows of one length or of different ones; each kind is compiled
# once. More than so many in one process, and something in a step changes that should not.
KINDS = 64
FIXED = (0, 1, 4, 5)  # axes of a KVBuffer's store that no run changes: layers, keys and values, kv_heads, head_dim


def check_compiler(device: torch.device) -> None:
    """Raise UsageError where what torch.compile needs for `device` is not there."""
    if device.type == "cuda":
        if find_spec("triton") is None:
            raise UsageError("--compile needs Triton on CUDA, which is not installed", "Install it, or leave it out")
        names, what = [os.environ.get("CC", ""), "gcc", "clang", "cc"], "a C compiler"
    else:
        # As inductor chooses it.
        names = [os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")]
        what = f"the C++ compiler {names[0]!r}"
    if not any(name and shutil.which(name) for name in names):
        raise UsageError(
            f"--compile needs {what}, which is not there",
            "Install one (Debian, Ubuntu: apt install g++), or leave out --compile",
        )


class Compiler:
    """Makes of a step's `run` a function that does the same; the first call of each kind of step compiles it.

    backend: of torch.compile. CUDA graphs are left to `graph.cuda_graph`.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self.backend = backend
        # On a machine with CUDA's tools and no GPU it warns of that, in the middle of somebody's answer.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        _register_put()

    def __call__(self, step: DecodeStep) -> Callable[[], Outcome]:
        """Compile `step.run`. What comes back raises ModelError for a model that cannot be compiled."""
        fast = torch.compile(step.run, fullgraph=True, dynamic=True, backend=self.backend)

        def run() -> Outcome:
            for part in step.parts:
                for store, axis in product(part.buffer.stores, FIXED):
                    torch._dynamo.mark_static(store, axis)
            try:
                with torch._dynamo.config.patch(recompile_limit=KINDS):
                    outcome: Outcome = fast()
            except TorchDynamoException as error:
                why = " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
                raise ModelError(
                    f"the decode step of this model cannot be compiled: {why}", "Leave out --compile"
                ) from error
            return outcome

        return run


@cache
def _register_put() -> None:
    """Make an operator of what writes a token, so that the compiler sees it change the store in place."""
    schema = "(Tensor(a!) store, int place, Tensor key, Tensor value, Tensor flat) -> ()"
    torch.library.custom_op("dycoke::put", put_token, mutates_args={"store"}, schema=schema)


@cache
def opaque(kernel: Kernel) -> Kernel:
    """Make an operator of `kernel`, so that the compiler calls it and does not look inside."""
    name = getattr(kernel, "__name__", "kernel")
    schema = "(Tensor query, Tensor store, Tensor newest, Tensor? table, float scaling) -> Tensor"
    operator = torch.library.custom_op(f"dycoke::{name}", kernel, mutates_args=(), schema=schema)

    @operator.register_fake
    def shaped(query: Tensor, store: Tensor, newest: Tensor, table: Tensor | None, scaling: float) -> Tensor:
        batch, heads, new, head_dim = query.shape
        return query.new_empty(batch, new, heads, head_dim)

    return operator
