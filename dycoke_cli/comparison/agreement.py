"""How far an answer says what another says: pure functions over text."""

import difflib
from collections import Counter
from typing import Literal, NamedTuple

from dycoke_cli.evaluation.matching import normalised

Change = Literal["same", "left out", "put in"]


class Piece(NamedTuple):
    """Some words of an answer, and what became of them beside the reference."""

    change: Change
    words: str


def token_f1(answer: str, reference: str) -> float:
    """Give the F1 of the words that two texts share, each as often as it is there.

    Case, articles and punctuation around words do not count. From 0 to 1, higher is more alike; two empty texts agree.
    Source: Rajpurkar et al. 2016 (SQuAD).
    """
    ours, theirs = Counter(normalised(answer).split()), Counter(normalised(reference).split())
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total())


def differences(answer: str, reference: str) -> list[Piece]:
    """Say word by word how `answer` came out of `reference`: in order, neighbours of a kind together."""
    ours, theirs = answer.split(), reference.split()
    pieces: list[Piece] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", " ".join(ours[c:d])))
            continue
        if b > a:
            pieces.append(Piece("left out", " ".join(theirs[a:b])))
        if d > c:
            pieces.append(Piece("put in", " ".join(ours[c:d])))
    return pieces
