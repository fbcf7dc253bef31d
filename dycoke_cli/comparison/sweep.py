"""Parse `--sweep k=0.3,0.5,0.7` into combinations of option values."""

from collections.abc import Iterator, Sequence
from itertools import product

from dycoke_cli.errors import UsageError

EXAMPLE = "Write it like --sweep k=0.3,0.5,0.7"


def grid(sweeps: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield every combination of the values, the last option changing fastest; one empty dict without sweeps.

    sweeps: each `key=value,value,...`. Raises UsageError for anything else, and for a repeated option or value.
    """
    values: dict[str, list[str]] = {}
    for text in sweeps:
        key, _, listed = text.partition("=")
        each = [value.strip() for value in listed.split(",")]
        if not key.strip() or not all(each):
            raise UsageError(f"sweep {text!r} is not key=value,value,...", EXAMPLE)
        if key.strip() in values:
            raise UsageError(f"option {key.strip()!r} is swept twice", "Put all its values into one --sweep")
        if len(set(each)) < len(each):
            raise UsageError(f"sweep {text!r} has a value twice", "Leave one out")
        values[key.strip()] = each
    for chosen in product(*values.values()):
        yield dict(zip(values, chosen, strict=True))
