"""The many ways to put each question; `{colour}` and its like are gaps."""

from __future__ import annotations

import numpy as np

COLOUR_FORMS = (
    "what {colour} is the {shape}?",
    "which {colour} is the {shape}?",
    "what is the {colour} of the {shape}?",
    "which {colour} does the {shape} have?",
    "what {colour} does the {shape} have?",
    "tell me the {colour} of the {shape}.",
    "the {shape} is what {colour}?",
)
SHAPE_FORMS = (
    "what shape is the {colour} {thing}?",
    "what is the shape of the {colour} {thing}?",
    "which shape is the {colour} {thing}?",
    "which shape does the {colour} {thing} have?",
    "what is the {colour} {thing}?",
    "what kind of {thing} is {colour}?",
    "what is {colour}?",
)
EXISTS_FORMS = (
    "is there {a_name}?",
    "is there {a_name} in the video?",
    "is there {a_name} in the scene?",
    "do you see {a_name}?",
    "can you see {a_name}?",
    "does the video show {a_name}?",
    "does {a_name} appear?",
)
COUNT_FORMS = (
    "how many {names} are there?",
    "how many {names} are in the video?",
    "how many {names} are there in the video?",
    "how many {names} do you see?",
    "how many {names} can you see?",
    "what is the number of {names}?",
    "count the {names}.",
)
DESCRIBE_FORMS = (
    "describe the video.",
    "describe the scene.",
    "describe what you see.",
    "what happens in the video?",
    "what is happening in the video?",
    "what is in the video?",
    "what does the video show?",
    "what do you see?",
    "what can you see in the video?",
)
BACKGROUND_FORMS = (
    "what {colour} is the background?",
    "what is the {colour} of the background?",
    "which {colour} is the background?",
    "which {colour} does the background have?",
)


def vary(rng: np.random.Generator, text: str) -> str:
    """Drop the full stop or the question mark now and then, and start with a capital half the time."""
    if rng.random() < 0.12:
        text = text.rstrip("?.")
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text


def pick(rng: np.random.Generator, forms: tuple[str, ...], **words: str) -> str:
    """Fill the gaps of one of the forms."""
    return forms[rng.integers(len(forms))].format(**words)


def word_for_colour(rng: np.random.Generator) -> str:
    """Choose between British and American spelling."""
    return "colour" if rng.random() < 0.5 else "color"


def word_for_thing(rng: np.random.Generator) -> str:
    """Choose a word for any solid."""
    return ("object", "thing", "shape")[rng.integers(3)]


def with_article(name: str) -> str:
    """Put "a" or "an" before a name."""
    return f"an {name}" if name[0] in "aeio" else f"a {name}"
