"""Compression methods: pure tensor arithmetic over visual tokens, one file each.

A new method is one file and one line in `METHODS`.
"""

from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.dynamic import Dynamic
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method, ModelFacts, Selection, Selector, Thinner
from dycoke_cli.methods.random import Random
from dycoke_cli.methods.uniform import Uniform

METHODS: dict[str, type[Method]] = {
    "dycoke": Dycoke,
    "dynamic": Dynamic,
    "full": Full,
    "random": Random,
    "uniform": Uniform,
}

__all__ = ["METHODS", "Dycoke", "Dynamic", "Full", "Method", "ModelFacts", "Selection", "Selector", "Thinner"]
