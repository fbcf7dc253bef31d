"""Decide whether a model's answer is correct: pure functions over text."""

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import Literal, get_args

from dycoke_cli.errors import UsageError

Match = Literal["exact", "contains"]

LETTERS = string.ascii_uppercase
ARTICLES = {"a", "an", "the"}
# Stripped from the ends of words. Signs of numbers are not included: -3 is not 3, and 5% is not 5.
PUNCTUATION = ".,;:!?…'\"`*_()[]{}<>“”‘’«»¿¡。，、；：！？（）「」"

_LEAD_IN = re.compile(
    r"\W*(the\s+)?((best|correct|right)\s+)?(answer|option|choice)\b[\s:*]*(is\b)?[\s:*]*(?=\S)", re.IGNORECASE
)
_LETTER = re.compile(r"\W*([A-Za-z])\W*")
_LETTER_AND_TEXT = re.compile(r"\W*([A-Z])\s*[).\]:,\n]\W*(.+)", re.DOTALL)
# Another option's letter; a capital A before a word in lower case is an article.
_OTHER_LETTER = re.compile(r"\b([B-Z]|A(?!\s+[a-z]))\b")


def parse_match(text: str) -> Match:
    """Parse the name of a match mode. Raises UsageError."""
    for name in get_args(Match):
        if text == name:
            return name
    raise UsageError(f"match is {text!r}", f"Choose from {', '.join(get_args(Match))}")


def normalised(text: str) -> str:
    """Fold case, and remove articles, punctuation around words, and surplus whitespace.

    A text of articles alone keeps them: the answer to "which letter?" may be "A".
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = [word for word in (raw.strip(PUNCTUATION) for raw in folded.split()) if word]
    return " ".join([word for word in words if word not in ARTICLES] or words)


def matches(answer: str, accepted: Sequence[str], match: Match) -> bool:
    """Return whether an open answer equals an accepted one ("exact") or contains its words in sequence ("contains")."""
    given, wanted = normalised(answer), map(normalised, accepted)
    if match == "exact":
        return given in set(wanted)
    return any(_within(text, given) for text in wanted)


def chosen_option(answer: str, options: Sequence[str], match: Match = "exact") -> int | None:
    """Return the index of the option that an answer names, by letter ("B", "(B)", "B. text") or by text.

    None where it names none or several. With "contains" an answer without a letter may also contain the text of exactly
    one option among other words.
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
    """Return the options that an answer names by letter; several where it contradicts itself."""
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
    """Return whether the words of `part` occur in `whole` consecutively and in order."""
    return f" {part} " in f" {whole} "
