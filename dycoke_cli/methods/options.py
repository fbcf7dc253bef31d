"""Build a method from its name and textual options, as in `-M NAME -o key=value`; describe the methods."""

from collections.abc import Mapping
from typing import Any

from dycoke_cli.methods.chain import Chain
from dycoke_cli.methods.listing import MethodOutline, outline_methods
from dycoke_cli.methods.parsing import read_method
from dycoke_cli.methods.protocol import Method, ModelFacts
from dycoke_cli.methods.registry import METHODS
from dycoke_cli.tokens import Grid

# Budget ranges are given for LLaVA-OneVision-7B on 32 frames.
FACTS, GRID = ModelFacts(layers=28, newline="one_token", saliency=True), Grid(32, 14, 14)


def make_method(name: str, options: Mapping[str, str]) -> Method:
    """Build the method `name` with textual `options`; names joined by + build a `Chain`. See `read_method`.

    Raise UsageError, which suggests the nearest match, for an unknown name, option or value.
    """
    stages = [METHODS[stage](**values) for stage, values in read_method(name, options).items()]
    return stages[0] if len(stages) == 1 else Chain.of(stages)


def describe(names: str = "") -> list[dict[str, Any]]:
    """Describe the methods in `names`, joined by +, or all methods, as `dycoke methods --json` prints them.

    Raise UsageError, which suggests the nearest name, for an unknown method.
    """
    return [_describe(outline_methods()[name]) for name in (read_method(names, {}) if names else METHODS)]


def _describe(method: MethodOutline) -> dict[str, Any]:
    kind = METHODS[method.name]
    low, high = kind().retain_range(FACTS, GRID)
    return {
        "name": method.name,
        "acts": list(method.acts),
        "summary": method.summary,
        "description": method.description,
        "options": [
            {
                "name": option.name,
                "default": option.default,
                "takes": list(option.kind) if isinstance(option.kind, tuple) else option.kind.__name__,
                "meaning": option.meaning,
            }
            for option in method.options
        ],
        "retain": [round(low, 6), high],
        "needs_saliency": kind.needs_saliency,
        "source": kind.source,
    }
