"""From `-M NAME -o key=value` to a method, checked once."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dycoke_cli.errors import UsageError
from dycoke_cli.methods import METHODS
from dycoke_cli.methods.protocol import Method


def make_method(name: str, options: Mapping[str, str]) -> Method:
    """Build the method `name` with `options`, given as text.

    Raises UsageError for a name, an option or a value that does not exist, with the nearest one.
    """
    if name not in METHODS:
        raise UsageError(f"no method is called {name!r}", nearest(name, METHODS))
    kind = METHODS[name]
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind)}
    values = {}
    for key, text in options.items():
        if key not in known:
            remedy = nearest(key, known) if known else f"{name} has no options"
            raise UsageError(f"method {name} has no option {key!r}", remedy)
        values[key] = parse_value(f"{name} option {key}", text, known[key])
    method: Method = kind(**values)
    return method


def method_options(method: Method) -> dict[str, Any]:
    """Give the options of a method as plain values, for records."""
    return {field.name: getattr(method, field.name) for field in fields(method)}  # type: ignore[arg-type]


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
