"""Matching of answers: by text, by letter, and ambiguous ones."""

from pathlib import Path

import pytest

from dycoke_cli.evaluation.matching import chosen_option, matches, normalised
from dycoke_cli.evaluation.question import Question


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red cube.", "red cube"),
        ("  the  RED\ncube ", "red cube"),
        ('"red", and (blue)!', "red and blue"),
        ("**Red**", "red"),
        ("A", "a"),
        ("-3", "-3"),
        ("1.5", "1.5"),
        ("don't", "don't"),
        ("５ cubes", "5 cubes"),
        ("...", ""),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    """Case, articles, punctuation around words and whitespace are removed; signs of numbers stay."""
    assert normalised(text) == expected
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize(
    ("answer", "accepted", "exact", "contains"),
    [
        ("Red.", ["red"], True, True),
        ("the red cube", ["a red cube"], True, True),
        ("two", ["2", "two"], True, True),
        ("it is red and round", ["red"], False, True),
        ("a red and blue cube", ["red cube"], False, False),
        ("covered", ["red"], False, False),
        ("red", ["a red cube"], False, False),
        ("", ["red"], False, False),
    ],
)
def test_open_answers(answer: str, accepted: list[str], exact: bool, contains: bool) -> None:
    """Exact compares the whole answer; contains, whole words in order. Exact implies contains."""
    assert matches(answer, accepted, "exact") is exact
    assert matches(answer, accepted, "contains") is contains


OPTIONS = ("a cube", "a ball", "Vitamin B", "answer the phone")


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("B", 1),
        ("b", 1),
        ("B.", 1),
        ("(B)", 1),
        ("B)", 1),
        ("**B**", 1),
        ("B. a ball", 1),
        ("(B) a ball", 1),
        ("B: Ball", 1),
        ("B\nBecause it rolls.", 1),
        ("B. A round thing", 1),
        ("ball", 1),
        ("A ball.", 1),
        ("The answer is B.", 1),
        ("Answer: (B) a ball", 1),
        ("Option B", 1),
        ("The best answer is: a ball", 1),
        ("**Answer:** B", 1),
        ("The correct option is **(B)**", 1),
        ("Optional", None),
        ("Answer", None),
        ("C. Vitamin B", 2),
        ("vitamin b", 2),
        ("answer the phone", 3),
        ("E", None),
        ("", None),
        ("A or B", None),
        ("A, B", None),
        ("A) or (B)", None),
        ("A. a ball", None),
        ("A/B", None),
        ("cube and ball", None),
        ("a round ball", None),
        ("I do not know", None),
        ("?", None),
    ],
)
def test_multiple_choice(answer: str, chosen: int | None) -> None:
    """A letter, alone or before a text, or an option's text; two options at once give None."""
    assert chosen_option(answer, OPTIONS) == chosen


@pytest.mark.parametrize(
    ("answer", "chosen"), [("I think it is a ball", 1), ("a cube or a ball", None), ("B. a cube", None), ("none", None)]
)
def test_multiple_choice_that_contains(answer: str, chosen: int | None) -> None:
    """With contains, the text of exactly one option among other words counts."""
    assert chosen_option(answer, OPTIONS, "contains") == chosen


def test_a_sign_is_part_of_an_answer() -> None:
    """Words such as "The answer is" are removed, and no sign of the number after them."""
    assert chosen_option("Answer: -3", ("3", "-3")) == 1
    assert chosen_option("The answer is 5%.", ("5", "5%")) == 1


def test_options_that_are_letters() -> None:
    """A letter that is also another option's text is ambiguous; letter and text together are not."""
    assert chosen_option("A", ("B", "A")) is None
    assert chosen_option("A. B", ("B", "A")) == 0


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_every_form_of_an_option_matches(number: int) -> None:
    """Each option matches as its line of the prompt, its letter, and its text."""
    question = Question("v.mp4", Path("v.mp4"), "which?", (OPTIONS[number],), OPTIONS)
    shown = question.prompt.splitlines()[1 + number]
    for answer in (shown, shown[0], f"({shown[0]})", OPTIONS[number], OPTIONS[number].upper()):
        assert question.judge(answer)
    assert question.expected == (shown,)
    assert sum(question.judge(letter) for letter in "ABCD") == 1


def test_the_prompt_of_a_question() -> None:
    """Question, lettered options and the instruction of Video-MME; an open question is unchanged."""
    question = Question("v.mp4", Path("v.mp4"), "Which colour?", ("red",), ("red", "blue"))
    assert question.prompt == (
        "Which colour?\nA. red\nB. blue\nAnswer with the option's letter from the given choices directly."
    )
    assert Question("v.mp4", Path("v.mp4"), "Which?", ("red",)).prompt == "Which?"
