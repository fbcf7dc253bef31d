"""Compression methods: pure tensor arithmetic over visual tokens, one file each.

A new method is one file and one line in `METHODS`.
"""

from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method, ModelFacts, Selection, Selector

METHODS: dict[str, type] = {method.name: method for method in (Dycoke, Full)}

__all__ = ["METHODS", "Dycoke", "Full", "Method", "ModelFacts", "Selection", "Selector"]
