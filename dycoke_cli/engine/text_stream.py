"""Token ids become text that can be shown at once."""

from collections.abc import Callable, Sequence

INCOMPLETE = "\ufffd"


class TextStream:
    """Gives the text that each new token adds, holding back characters that are not complete yet.

    decode: token ids to text, special tokens left out.
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
        """Take one more token and give what can be shown now."""
        self.ids.append(token)
        text = self.text
        return "" if text.endswith(INCOMPLETE) else self._advance(text)

    def finish(self) -> str:
        """Give what was held back."""
        return self._advance(self.text)

    def _advance(self, text: str) -> str:
        new = text[len(self.shown) :]
        self.shown = text
        return new
