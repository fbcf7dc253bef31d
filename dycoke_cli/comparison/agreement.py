"""Compare two answers as text: token F1, and the words that differ."""

import difflib
from collections import Counter
from typing import Literal, NamedTuple

from dycoke_cli.evaluation.matching import normalised

Change = Literal["same", "left out", "put in"]


class DiffPiece(NamedTuple):
    """Consecutive words that both texts contain, or only the reference, or only the answer."""

    change: Change
    words: str


def token_f1(answer: str, reference: str) -> float:
    """Return the F1 of the words that two texts share, counted with multiplicity.

    Case, articles and punctuation around words are ignored. From 0 to 1, higher is more similar; two empty texts: 1.
    Source: Rajpurkar et al. 2016 (SQuAD).
    """
    ours, theirs = Counter(normalised(answer).split()), Counter(normalised(reference).split())
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total())


def differences(answer: str, reference: str) -> list[DiffPiece]:
    """Return the word-level diff from `reference` to `answer`, in order; adjacent changes of one kind are joined."""
    ours, theirs = answer.split(), reference.split()
    pieces: list[DiffPiece] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(DiffPiece("same", " ".join(ours[c:d])))
            continue
        if b > a:
            pieces.append(DiffPiece("left out", " ".join(theirs[a:b])))
        if d > c:
            pieces.append(DiffPiece("put in", " ".join(ours[c:d])))
    return pieces
