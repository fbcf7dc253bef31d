"""Decode token ids to text incrementally, for streaming."""

from collections.abc import Callable, Sequence

INCOMPLETE = "\ufffd"


class TextStream:
    """Returns the text that each new token adds, and withholds incomplete characters.

    decode: converts token ids to text without special tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self.decode = decode
        self.ids: list[int] = []
        self.shown = ""

    @property
    def text(self) -> str:
        """All text so far."""
        return self.decode(self.ids)

    def push(self, token: int) -> str:
        """Add one token. Return the new text, empty while a character is incomplete."""
        self.ids.append(token)
        text = self.text
        return "" if text.endswith(INCOMPLETE) else self._advance(text)

    def finish(self) -> str:
        """Return the withheld text."""
        return self._advance(self.text)

    def _advance(self, text: str) -> str:
        new = text[len(self.shown) :]
        self.shown = text
        return new
