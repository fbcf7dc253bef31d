"""Build a method from its name and textual options, as in `-M NAME -o key=value`."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from dycoke_cli.methods.chain import Chain
from dycoke_cli.methods.parsing import Kind, read_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.methods.registry import METHODS


def make_method(name: str, options: Mapping[str, str]) -> Method:
    """Build the method `name` with textual `options`; names joined by + build a `Chain`.

    An option is assigned to the stage that has it; if several have it, it must be written `stage.option`.
    Raise UsageError, which suggests the nearest match, for an unknown name, option or value.
    """
    values = read_method(name, options, {known: _takes(kind) for known, kind in METHODS.items()})
    stages = [METHODS[stage](**given) for stage, given in values.items()]
    return stages[0] if len(stages) == 1 else Chain.of(stages)


def option_types(kind: type[Method]) -> dict[str, Any]:
    """Return the type of every option of a method."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]


def method_options(method: Method) -> dict[str, Any]:
    """Return the options of a method as plain values for records."""
    return method.options()


def _takes(kind: type[Method]) -> dict[str, Kind]:
    """Return the type or the allowed words of every option of a method."""
    return {name: get_args(hint) or hint for name, hint in option_types(kind).items()}
