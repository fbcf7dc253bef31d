"""Run transformers' `generate` with a compiled forward, and keep compilation out of measured runs."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch._dynamo.eval_frame import remove_from_cache
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch._dynamo.utils import counters

from dycoke_cli.comparison.stock_config import CompileFailed
from dycoke_cli.methods.parsing import STOCK_COMPILED

REMEDY = f"Leave out {STOCK_COMPILED}"
RUNS = 3  # at most, until one compiles nothing
# Attributes that `generate` sets on its model: the compiled forward, and the length of the longest static cache so far,
# which a shorter run would get too.
COMPILED, LENGTH = ("_compiled_call", "_last_compile_config"), "_previous_max_cache_length"
# Each prompt length is compiled anew; torch's own limit is 8, after which it silently runs without compiling.
LIMITS = {"recompile_limit": 512, "accumulated_recompile_limit": 512, "fail_on_recompile_limit_hit": True}
TOKENIZERS = "TOKENIZERS_PARALLELISM"  # a variable that `generate` sets when it compiles
T = TypeVar("T")


class CompiledForward:
    """The compiled forward of a model of transformers; the model has it only during a run.

    So every other run with the model is as before.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.kept = model, dict[str, Any]()
        # With CUDA's tools but no GPU, torch logs a warning in the middle of an answer.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        self.reset()  # so that the first run compiles, whatever this process compiled before

    def settled(self, run: Callable[[], T]) -> tuple[T, list[T]]:
        """Call `run` until it compiles nothing; return its last result, and those of the calls before.

        Raises CompileFailed if it cannot be compiled, or is compiled again in every call.
        """
        compiling: list[T] = []
        while len(compiling) < RUNS:
            before = _graphs()
            with self._lent(), _errors_explained(), torch._dynamo.config.patch(LIMITS):
                result = run()
            if _graphs() == before:
                return result, compiling
            compiling.append(result)
        raise CompileFailed(f"every run of {STOCK_COMPILED} compiles its forward again", REMEDY)

    def reset(self) -> None:
        """Release what was compiled, with its CUDA graphs; the next run compiles again."""
        self.kept.clear()
        function: Any = type(self.model).forward
        remove_from_cache(type(self.model).__call__)
        while function is not None:  # with its decorators, of which torch compiles the outermost
            remove_from_cache(function)
            function = getattr(function, "__wrapped__", None)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Give the model the compiled forward for one run. Raises CompileFailed if `generate` did not use it."""
        attributes, variable = vars(self.model), os.environ.get(TOKENIZERS)
        attributes.update(self.kept)
        try:
            yield
            if COMPILED[0] not in attributes:
                raise CompileFailed("transformers does not compile the forward of this model", REMEDY)
        finally:
            self.kept = {name: attributes.pop(name) for name in COMPILED if name in attributes}
            attributes.pop(LENGTH, None)
            if variable is None:
                os.environ.pop(TOKENIZERS, None)
            else:
                os.environ[TOKENIZERS] = variable


def _graphs() -> int:
    """Return the number of graphs that this process has compiled."""
    return counters["stats"]["unique_graphs"]


@contextmanager
def _errors_explained() -> Iterator[None]:
    """Raise CompileFailed, in one line, for every error of the compiler."""
    try:
        yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        reason = " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
        raise CompileFailed(f"the forward of this model cannot be compiled: {reason}", REMEDY) from error
