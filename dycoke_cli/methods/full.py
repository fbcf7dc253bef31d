"""No compression: what every other method is compared with."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dycoke_cli.methods.protocol import ModelFacts
from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Full:
    """Every visual token enters the language model and is read at every step."""

    name: ClassVar[str] = "full"
    positions: ClassVar[str] = "packed"

    def check(self, facts: ModelFacts) -> None:
        """Fits every network."""

    def compress(self, tokens: VisualTokens) -> VisualTokens:
        """Return the tokens as they are."""
        return tokens

    def selector(self, counts: Tensor) -> None:
        """There is no second stage."""
        return None
