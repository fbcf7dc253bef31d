"""How methods and their options are written, and the nearest name to a wrong one. Needs no torch.

`-M NAME`, `-M NAME+NAME`, `-M NAME:key=value` and `-o key=value` are read here, against what methods there are.
"""

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from dycoke_cli.errors import UsageError
from dycoke_cli.methods.listing import MethodOutline, OptionOutline, outline_methods
from dycoke_cli.methods.moments import refuse_clash

STOCK = "generate"  # in the place of a method: transformers' own, where a command can run that
# What an option takes: a type, or certain words.
Kind = type | tuple[str, ...]
KINDS: dict[str, type] = {"float": float, "int": int}


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name, or list them all."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(sorted(known))}"


def parse_options(pairs: list[str]) -> dict[str, str]:
    """Read `key=value` pairs. Raises UsageError for anything else."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise UsageError(f"option {pair!r} is not key=value", "Write it like -o k=0.7")
        options[key.strip()] = value.strip()
    return options


def split_arm(text: str) -> tuple[str, dict[str, str]]:
    """Read `NAME` or `NAME:key=value,key=value`. Raises UsageError."""
    name, colon, written = text.partition(":")
    if not name or (colon and not written):
        raise UsageError(f"{text!r} is no method", "Write it like -M dycoke or -M dycoke:k=0.5,p=0.9")
    return name, parse_options(written.split(",")) if written else {}


def check_method(name: str, options: Mapping[str, str]) -> None:
    """Raise UsageError for a method, an option or a value that does not exist, from the methods' source alone.

    Whether the options fit each other and the model only the method itself can say.
    """
    methods = _methods()
    values = read_method(name, options, _outlined())
    for stage, given in values.items():
        for option in methods[stage].options:
            if option.limits is not None and option.name in given:
                option.limits.check(stage, option.name, given[option.name], option.default)
    refuse_clash({stage: methods[stage].acts for stage in values})


def read_method(
    name: str, options: Mapping[str, str], known: Mapping[str, Mapping[str, Kind]]
) -> dict[str, dict[str, Any]]:
    """Read the name of a method, and options given as text, as the values of each of its stages.

    known: what each option takes, by method. Several names joined by + are stages; an option belongs to the stage that
    has it, and `stage.option` says which one where several have it. Raises UsageError for a name, an option or a value
    that does not exist, with the nearest one.
    """
    stages = name.split("+")
    for stage in stages:
        if stage not in known:
            raise UsageError(f"no method is called {stage!r}", nearest(stage, known))
    if len(set(stages)) < len(stages):
        raise UsageError(f"method {name!r} names a stage twice", "Name each stage once")
    values: dict[str, dict[str, Any]] = {stage: {} for stage in stages}
    for key, text in options.items():
        stage, option = _address(name, {stage: known[stage] for stage in stages}, key)
        values[stage][option] = _value(f"{stage} option {option}", text, known[stage][option])
    return values


def _address(name: str, stages: Mapping[str, Mapping[str, Kind]], key: str) -> tuple[str, str]:
    """Find the stage and the option that `key` means."""
    known = {f"{stage}.{option}": (stage, option) for stage, options in stages.items() for option in options}
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


def _value(what: str, text: str, kind: Kind) -> Any:
    """Read one option's value; `what` names it in the error."""
    if isinstance(kind, tuple):
        if text not in kind:
            meant = difflib.get_close_matches(text, kind, n=1)
            hint = f"Did you mean {meant[0]!r}? " if meant else ""
            raise UsageError(f"{what} is {text!r}", f"{hint}There are {', '.join(kind)}")
        return text
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(f"{what} is {text!r}, not {wanted}", f"Write it like {what.split()[-1]}=1") from None


@cache
def _methods() -> dict[str, MethodOutline]:
    return outline_methods()


def _outlined() -> dict[str, dict[str, Kind]]:
    return {name: {option.name: _kind(option) for option in method.options} for name, method in _methods().items()}


def _kind(option: OptionOutline) -> Kind:
    return option.words or KINDS.get(option.takes, str)
