"""Templates of each kind of question, and random variation of their wording."""

from __future__ import annotations

import numpy as np

FORMS = {
    "colour": (
        "what {colour} is the {shape}?",
        "which {colour} is the {shape}?",
        "what is the {colour} of the {shape}?",
        "which {colour} does the {shape} have?",
        "what {colour} does the {shape} have?",
        "tell me the {colour} of the {shape}.",
        "the {shape} is what {colour}?",
    ),
    "shape": (
        "what shape is the {name} {thing}?",
        "what is the shape of the {name} {thing}?",
        "which shape is the {name} {thing}?",
        "which shape does the {name} {thing} have?",
        "what is the {name} {thing}?",
        "what kind of {thing} is {name}?",
        "what is {name}?",
    ),
    "exists": (
        "is there {a_name}?",
        "is there {a_name} in the video?",
        "is there {a_name} in the scene?",
        "do you see {a_name}?",
        "can you see {a_name}?",
        "does the video show {a_name}?",
        "is {a_name} ever shown?",
    ),
    "count": (
        "how many {names} are there?",
        "how many {names} are in the video?",
        "how many {names} are there in the video?",
        "how many {names} do you see?",
        "how many {names} can you see?",
        "what is the number of {names}?",
        "count the {names}.",
    ),
    "background": (
        "what {colour} is the background?",
        "what is the {colour} of the background?",
        "which {colour} is the background?",
        "which {colour} does the background have?",
    ),
    "position": (
        "where is the {name}?",
        "where is the {name} in the picture?",
        "in which part of the picture is the {name}?",
        "where can the {name} be seen?",
    ),
    "position_start": (
        "where is the {name} at the start?",
        "where is the {name} at the beginning?",
        "where is the {name} at first?",
        "where does the {name} start?",
    ),
    "position_end": (
        "where is the {name} at the end?",
        "where is the {name} in the end?",
        "where does the {name} end up?",
        "where does the {name} go?",
    ),
    "relation": (
        "is the {one} {relation} the {other}?",
        "is the {one} shown {relation} the {other}?",
        "would you say the {one} is {relation} the {other}?",
    ),
    "which": (
        "which is {further}, the {one} or the {other}?",
        "what is {further}, the {one} or the {other}?",
        "of the {one} and the {other}, which is {further}?",
    ),
    "motion": (
        "which way does the {name} move?",
        "in which direction does the {name} move?",
        "what direction does the {name} move in?",
        "where does the {name} move?",
        "how does the {name} move?",
    ),
    "mover": ("what moves?", "what is moving?", "which {thing} moves?", "which {thing} is moving?"),
    "moves": ("does the {name} move?", "is the {name} moving?"),
    "first": ("what happens first?", "what is the first thing that happens?", "what happens at first?"),
    "last": ("what happens last?", "what is the last thing that happens?", "what happens at the end?"),
    "after": (
        "what happens after {clause}?",
        "what happens next after {clause}?",
        "after {clause}, what happens?",
        "{clause}. what happens next?",
    ),
    "before": (
        "what happens before {clause}?",
        "what happens just before {clause}?",
        "before {clause}, what happens?",
    ),
    "sooner": (
        "what happens first: {one}, or {other}?",
        "which is first: {one}, or {other}?",
        "which happens earlier: {one}, or {other}?",
    ),
    "turns": (
        "what {colour} does the {name} turn?",
        "which {colour} does the {name} turn?",
        "what {colour} does the {name} become?",
        "to what {colour} does the {name} change?",
    ),
    "turned": (
        "what {colour} is the {shape} at first?",
        "what {colour} was the {shape} at the start?",
        "what {colour} was the {shape} before it changed?",
    ),
    "turner": (
        "what changes {colour}?",
        "which {thing} changes {colour}?",
        "what turns another {colour}?",
    ),
    "changes": ("does the {name} change {colour}?", "does the {colour} of the {name} change?"),
    "flashes": ("what flashes?", "what flashes up?", "what flashed?", "what is seen for a moment only?"),
    "appears": ("what appears?", "what comes into view?", "what appears and stays?"),
    "disappears": ("what disappears?", "what goes away?", "what vanishes?"),
    "happens": (
        "what happens to the {name}?",
        "what does the {name} do?",
        "what becomes of the {name}?",
    ),
    "describe": (
        "describe the video.",
        "describe the scene.",
        "describe what you see.",
        "describe what happens.",
        "what happens in the video?",
        "what is happening in the video?",
        "what does the video show?",
        "what can you see in the video?",
    ),
}


def phrase(rng: np.random.Generator, kind: str, **fields: str) -> str:
    """Draw a template of a kind and fill its fields; `colour` and `thing` get random synonyms."""
    words = {"colour": word_for_colour(rng), "thing": word_for_thing(rng)} | fields
    return FORMS[kind][rng.integers(len(FORMS[kind]))].format(**words)


def vary(rng: np.random.Generator, text: str) -> str:
    """Drop the final punctuation (12 %), and capitalise the first letter (50 %)."""
    if rng.random() < 0.12:
        text = text.rstrip("?.")
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text


def word_for_colour(rng: np.random.Generator) -> str:
    """Draw the British or the American spelling."""
    return "colour" if rng.random() < 0.5 else "color"


def word_for_thing(rng: np.random.Generator) -> str:
    """Draw a word for any solid."""
    return ("object", "thing", "shape")[rng.integers(3)]
