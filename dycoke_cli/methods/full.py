"""No compression: what every other method is compared with."""

from dataclasses import dataclass

from dycoke_cli.methods.protocol import Method


@dataclass(frozen=True)
class Full(Method):
    """Every visual token enters the language model and is read at every step."""

    name = "full"
