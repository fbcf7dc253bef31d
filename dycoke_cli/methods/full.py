"""No compression: the baseline of every other method."""

from dataclasses import dataclass

from dycoke_cli.methods.protocol import Method


@dataclass(frozen=True)
class Full(Method):
    """Keep every visual token and read it at every step."""

    name = "full"
