"""Parse `-M NAME+NAME`, `-M NAME:key=value` and `-o key=value` without torch; suggest names for wrong ones."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.listing import OptionOutline, outline_methods
from dycoke_cli.methods.moments import refuse_moment_conflict

# Given as a method where a command supports it: transformers' own `generate`, as it is called by default and in its
# fastest documented way, with a static cache and a compiled forward.
STOCK, STOCK_COMPILED = "generate", "generate:compiled"
STOCKS = (STOCK, STOCK_COMPILED)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remedy: the nearest known name, or all of them if none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(sorted(known))}"


def parse_options(pairs: list[str]) -> dict[str, str]:
    """Parse `key=value` pairs. Raise UsageError for anything else."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise UsageError(f"option {pair!r} is not key=value", "Write it like -o k=0.7")
        options[key.strip()] = value.strip()
    return options


def split_arm(text: str) -> tuple[str, dict[str, str]]:
    """Parse `NAME` or `NAME:key=value,key=value` into name and options. Raise UsageError for anything else."""
    name, colon, written = text.partition(":")
    if not name or (colon and not written):
        raise UsageError(f"{text!r} is not a method", "Write it like -M dycoke or -M dycoke:k=0.5,p=0.9")
    return name, parse_options(written.split(",")) if written else {}


def split_stock(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Separate the methods of this project from those of `STOCKS`; return both, each in its order.

    Raise UsageError for options of `generate` that do not exist.
    """
    methods, stocks = [], []
    for text in texts:
        if text in STOCKS:
            stocks.append(text)
        elif text.partition(":")[0] == STOCK:
            raise UsageError(f"{text!r} is not a method", f"Choose from {', '.join(STOCKS)}")
        else:
            methods.append(text)
    return methods, stocks


def check_method(name: str, options: Mapping[str, str]) -> None:
    """Raise UsageError for an unknown method or option, or a wrong value, by the methods' source alone.

    Not checked: whether options fit each other and the model, which needs the imported method.
    """
    methods = outline_methods()
    values = read_method(name, options)
    for stage, given in values.items():
        for option in methods[stage].options:
            if option.limits is not None and option.name in given:
                option.limits.check(stage, option.name, given[option.name], option.default)
    refuse_moment_conflict({stage: methods[stage].acts for stage in values})


def read_method(name: str, options: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Parse a method name and textual options into option values for each stage (names joined by +).

    An option is assigned to the stage that has it; if several have it, it must be written `stage.option`. Raise
    UsageError, which suggests the nearest match, for an unknown name, option or value.
    """
    stages = name.split("+")
    for stage in stages:
        if stage not in outline_methods():
            raise UsageError(f"no method is called {stage!r}", nearest(stage, outline_methods()))
    if len(set(stages)) < len(stages):
        raise UsageError(f"method {name!r} names a stage twice", "Name each stage once")
    values: dict[str, dict[str, Any]] = {stage: {} for stage in stages}
    for key, text in options.items():
        stage, option = _find_option(name, key)
        values[stage][option.name] = _parse_value(f"{stage} option {option.name}", text, option.kind)
    return values


def _find_option(name: str, key: str) -> tuple[str, OptionOutline]:
    """Return the stage of method `name` and the option that `key` refers to."""
    methods = outline_methods()
    known = {
        f"{stage}.{option.name}": (stage, option) for stage in name.split("+") for option in methods[stage].options
    }
    if key in known:
        return known[key]
    owners = [(stage, option) for stage, option in known.values() if option.name == key]
    if not owners:
        short = {option.name: None for _, option in known.values()}
        remedy = nearest(key, known if "." in key else short) if known else f"{name} has no options"
        raise UsageError(f"method {name} has no option {key!r}", remedy)
    if len(owners) > 1:
        choices = " or ".join(f"{stage}.{key}" for stage, _ in owners)
        raise UsageError(f"option {key!r} belongs to several stages of {name}", f"Write {choices}")
    return owners[0]


def _parse_value(label: str, text: str, kind: type | tuple[str, ...]) -> Any:
    """Parse one option's value; `label` names it in the error."""
    if isinstance(kind, tuple):
        if text not in kind:
            close = difflib.get_close_matches(text, kind, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise UsageError(f"{label} is {text!r}", f"{hint}Choose from {', '.join(kind)}")
        return text
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise UsageError(f"{label} is {text!r}, not {expected}", f"Write it like {label.split()[-1]}=1") from None
