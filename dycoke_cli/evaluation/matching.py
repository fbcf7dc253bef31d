"""Whether a model's answer is the right one: pure functions over text."""

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import Literal, get_args

from dycoke_cli.errors import UsageError

Match = Literal["exact", "contains"]

LETTERS = string.ascii_uppercase
ARTICLES = {"a", "an", "the"}
# What may stand around a word without changing it. No sign of a number is in here: -3 is not 3, and 5% is not 5.
AROUND = ".,;:!?…'\"`*_()[]{}<>“”‘’«»¿¡。，、；：！？（）「」"

_LEAD_IN = re.compile(
    r"\W*(the\s+)?((best|correct|right)\s+)?(answer|option|choice)\b[\s:*]*(is\b)?[\s:*]*(?=\S)", re.IGNORECASE
)
_LETTER = re.compile(r"\W*([A-Za-z])\W*")
_LETTER_AND_TEXT = re.compile(r"\W*([A-Z])\s*[).\]:,\n]\W*(.+)", re.DOTALL)
# Another option's letter; a capital A before a word in lower case is an article.
_OTHER_LETTER = re.compile(r"\b([B-Z]|A(?!\s+[a-z]))\b")


def checked_match(text: str) -> Match:
    """Read the name of a way to compare. Raises UsageError."""
    for name in get_args(Match):
        if text == name:
            return name
    raise UsageError(f"match is {text!r}", f"Choose from {', '.join(get_args(Match))}")


def normalised(text: str) -> str:
    """Fold case, and leave out articles, punctuation around words, and surplus whitespace.

    A text of articles alone keeps them: the answer to "which letter?" may be "A".
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = [word for word in (raw.strip(AROUND) for raw in folded.split()) if word]
    return " ".join([word for word in words if word not in ARTICLES] or words)


def matches(answer: str, accepted: Sequence[str], match: Match) -> bool:
    """Say whether an open answer equals one of the accepted ones, or contains its words one after another."""
    given, wanted = normalised(answer), map(normalised, accepted)
    if match == "exact":
        return given in set(wanted)
    return any(_within(text, given) for text in wanted)


def chosen_option(answer: str, options: Sequence[str], match: Match = "exact") -> int | None:
    """Say which option an answer names: by letter ("B", "(B)", "B. text") or by its text; None where it is unclear.

    With `contains` an answer without a letter may also hold the text of exactly one option among other words.
    """
    text = answer.strip()
    bare = text[lead_in.end() :] if (lead_in := _LEAD_IN.match(text)) else text
    texts = {normalised(text), normalised(bare)}
    found = {number for number, option in enumerate(options) if normalised(option) in texts}
    found.update(_by_letter(bare, options))
    if not found and match == "contains":
        found = {number for number, option in enumerate(options) if _within(normalised(option), normalised(text))}
    return found.pop() if len(found) == 1 else None


def _by_letter(text: str, options: Sequence[str]) -> list[int]:
    """Give the options that an answer names by their letter; two where it contradicts itself."""
    if alone := _LETTER.fullmatch(text):
        number = LETTERS.index(alone[1].upper())
        return [number] if number < len(options) else []
    lettered = _LETTER_AND_TEXT.fullmatch(text)
    if lettered is None or (number := LETTERS.index(lettered[1])) >= len(options):
        return []
    rest = lettered[2]
    by_text = [other for other, option in enumerate(options) if normalised(option) == normalised(rest)]
    if number in by_text:
        return [number]
    by_letter = [LETTERS.index(letter) for letter in _OTHER_LETTER.findall(rest)]
    return [number, *by_text, *(other for other in by_letter if other < len(options))]


def _within(part: str, whole: str) -> bool:
    """Say whether the words of `part` stand in `whole`, in order and next to each other."""
    return f" {part} " in f" {whole} "
