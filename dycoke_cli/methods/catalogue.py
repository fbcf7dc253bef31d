"""Describe the compression methods as plain values for `dycoke methods`: options, budgets, docstrings, sources."""

import inspect
from dataclasses import fields
from typing import Any, get_args, get_origin

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.listing import OPTION_LINE
from dycoke_cli.methods.options import option_types
from dycoke_cli.methods.parsing import nearest
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.methods.registry import METHODS
from dycoke_cli.tokens import Grid

# Budget ranges are given for LLaVA-OneVision-7B on 32 frames.
FACTS, GRID = ModelFacts(layers=28, newline="one_token", saliency=True), Grid(32, 14, 14)


def describe(names: str = "") -> list[dict[str, Any]]:
    """Describe the methods in `names`, joined by +, or all methods, as `dycoke methods --json` prints them.

    Raise UsageError, which suggests the nearest name, for an unknown method.
    """
    selected = names.split("+") if names else list(METHODS)
    for name in selected:
        if name not in METHODS:
            raise UsageError(f"no method is called {name!r}", nearest(name, METHODS))
    return [_describe(METHODS[name]) for name in selected]


def _describe(kind: type[Method]) -> dict[str, Any]:
    paragraphs = OPTION_LINE.sub("", inspect.getdoc(kind) or "").strip().split("\n\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in paragraphs]
    low, high = kind().retain_range(FACTS, GRID)
    return {
        "name": kind.name,
        "acts": list(kind.acts),
        "summary": paragraphs[0],
        "description": "\n\n".join(paragraphs),
        "options": _options(kind),
        "retain": [round(low, 6), high],
        "needs_saliency": kind.needs_saliency,
        "source": kind.source,
    }


def _options(kind: type[Method]) -> list[dict[str, Any]]:
    """Return each option with its default, type or allowed words, and its explanation from the docstring."""
    meanings: dict[str, str] = {}
    for ancestor in reversed(kind.__mro__):
        for name, meaning in OPTION_LINE.findall(inspect.cleandoc(ancestor.__doc__ or "")):
            meanings[name] = " ".join(meaning.split())
    types = option_types(kind)
    return [
        {
            "name": field.name,
            "default": field.default,
            "takes": list(get_args(types[field.name])) if get_origin(types[field.name]) else types[field.name].__name__,
            "meaning": meanings.get(field.name, ""),
        }
        for field in fields(kind)  # type: ignore[arg-type]
    ]
