"""From `-M NAME -o key=value` to a method, checked once."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dycoke_cli.errors import UsageError
from dycoke_cli.methods import METHODS
from dycoke_cli.methods.chain import Chain
from dycoke_cli.methods.protocol import Method


def make_method(name: str, options: Mapping[str, str]) -> Method:
    """Build the method `name` with `options`, given as text.

    Several names joined by + make one method of stages that act at different moments. An option belongs to the stage
    that has it; `stage.option` says which one where several have it.
    Raises UsageError for a name, an option or a value that does not exist, with the nearest one.
    """
    kinds = {part: _kind(part) for part in name.split("+")}
    if len(kinds) < len(name.split("+")):
        raise UsageError(f"method {name!r} names a stage twice", "Name each stage once")
    values: dict[str, dict[str, Any]] = {part: {} for part in kinds}
    for key, text in options.items():
        stage, option = _address(name, kinds, key)
        values[stage][option] = parse_value(f"{stage} option {option}", text, option_types(kinds[stage])[option])
    stages = [kind(**values[part]) for part, kind in kinds.items()]
    return stages[0] if len(stages) == 1 else Chain.of(stages)


def option_types(kind: type[Method]) -> dict[str, Any]:
    """Give the type of every option of a method."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]


def method_options(method: Method) -> dict[str, Any]:
    """Give the options of a method as plain values, for records."""
    return method.options()


def _kind(name: str) -> type[Method]:
    if name not in METHODS:
        raise UsageError(f"no method is called {name!r}", nearest(name, METHODS))
    return METHODS[name]


def _address(name: str, kinds: Mapping[str, type[Method]], key: str) -> tuple[str, str]:
    """Find the stage and the option that `key` means."""
    known = {f"{stage}.{option}": (stage, option) for stage, kind in kinds.items() for option in option_types(kind)}
    if key in known:
        return known[key]
    owners = [address for address in known.values() if address[1] == key]
    if not owners:
        short = {option: None for _, option in known.values()}
        remedy = nearest(key, known if "." in key else short) if known else f"{name} has no options"
        raise UsageError(f"method {name} has no option {key!r}", remedy)
    if len(owners) > 1:
        choices = " or ".join(f"{stage}.{key}" for stage, _ in owners)
        raise UsageError(f"option {key!r} belongs to several stages of {name}", f"Say which one: {choices}")
    return owners[0]


def parse_value(what: str, text: str, kind: Any) -> Any:
    """Read one option value of type float, int or Literal; `what` names it in the error."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if text not in choices:
            raise UsageError(f"{what} is {text!r}", f"Choose from {', '.join(choices)}")
        return text
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(f"{what} is {text!r}, not {wanted}", f"Write it like {what.split()[-1]}=1") from None


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """Suggest the nearest known name, or list them all."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(sorted(known))}"
