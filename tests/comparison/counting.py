"""A way for `generate` to compile its forward without a compiler, which counts what is compiled."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import CompileConfig

from dycoke_cli.comparison import stock_config


def count_compilations(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """Let `generate:compiled` trace its forward and run the graph eagerly; return the list that gets each graph."""
    graphs: list[torch.fx.GraphModule] = []

    # A function, because `generate` copies its configuration, and a copied object would count as another backend.
    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    compile_with(monkeypatch, backend)
    return graphs


def compile_with(monkeypatch: pytest.MonkeyPatch, backend: Callable[..., Any]) -> None:
    """Let `generate:compiled` compile with `backend`; discard what was compiled before."""

    def config(device: torch.device) -> CompileConfig:
        given = CompileConfig(backend=backend, mode="default", dynamic=False)
        given._compile_all_devices = True
        return given

    monkeypatch.setattr(stock_config, "compile_config", config)
    torch.compiler.reset()
