"""From `-M NAME -o key=value` to a method, checked once."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from dycoke_cli.methods.chain import Chain
from dycoke_cli.methods.parsing import Kind, read_method
from dycoke_cli.methods.protocol import Method
from dycoke_cli.methods.registry import METHODS


def make_method(name: str, options: Mapping[str, str]) -> Method:
    """Build the method `name` with `options`, given as text.

    Several names joined by + make one method of stages that act at different moments. An option belongs to the stage
    that has it; `stage.option` says which one where several have it.
    Raises UsageError for a name, an option or a value that does not exist, with the nearest one.
    """
    values = read_method(name, options, {known: _takes(kind) for known, kind in METHODS.items()})
    stages = [METHODS[stage](**given) for stage, given in values.items()]
    return stages[0] if len(stages) == 1 else Chain.of(stages)


def option_types(kind: type[Method]) -> dict[str, Any]:
    """Give the type of every option of a method."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]


def method_options(method: Method) -> dict[str, Any]:
    """Give the options of a method as plain values, for records."""
    return method.options()


def _takes(kind: type[Method]) -> dict[str, Kind]:
    """Give what each option of a method takes: a type, or certain words."""
    return {name: get_args(hint) or hint for name, hint in option_types(kind).items()}
