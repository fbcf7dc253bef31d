"""Token F1 of two answers, and their word-level diff."""

import random
from itertools import pairwise

import pytest

from dycoke_cli.comparison.agreement import differences, token_f1

WORDS = ["a", "red", "cube", "and", "blue", "ball"]


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("red", "red", 1.0),
        ("A red cube.", "the Red cube", 1.0),
        ("red", "blue", 0.0),
        ("", "", 1.0),
        ("", "red", 0.0),
        ("red cube", "red ball", 0.5),
        # Precision 3 of 4 words, recall 3 of 6.
        ("red cube red ball", "red red cube on green floor", 2 * 3 / (4 + 6)),
        ("red red red", "red", 0.5),
    ],
)
def test_f1_by_hand(answer: str, reference: str, f1: float) -> None:
    """A word counts as often as both texts contain it; case, articles and punctuation are ignored."""
    assert token_f1(answer, reference) == pytest.approx(f1)
    assert token_f1(reference, answer) == pytest.approx(f1)


def test_the_diff_reproduces_both_texts() -> None:
    """Without the inserted words the diff is the reference, without the deleted words the answer, for any two texts."""
    chance = random.Random(0)
    for _ in range(200):
        answer, reference = (" ".join(chance.choices(WORDS, k=chance.randrange(7))) for _ in range(2))
        pieces = differences(answer, reference)
        assert " ".join(piece.words for piece in pieces if piece.change != "left out") == answer
        assert " ".join(piece.words for piece in pieces if piece.change != "put in") == reference
        assert all(first.change != second.change for first, second in pairwise(pieces))


def test_differences_by_example() -> None:
    """For a replaced word, the deletion comes before the insertion."""
    pieces = differences("a red cube moves", "a red ball moves")
    assert [tuple(piece) for piece in pieces] == [
        ("same", "a red"),
        ("left out", "ball"),
        ("put in", "cube"),
        ("same", "moves"),
    ]
