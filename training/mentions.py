"""Find the names in a question and the things that they refer to."""

from __future__ import annotations

import re

from training.question import Mention, Question
from training.scenes import COLOURS, SHAPES
from training.timeline import Timeline

_COLOUR, _SHAPE = "|".join(COLOURS), "|".join(SHAPES)
_NAME = re.compile(
    rf"\b(?:(?P<colour>{_COLOUR})(?: (?:(?P<shape>{_SHAPE})|object|thing|shape)s?)?|(?P<only>{_SHAPE})s?)\b",
    re.IGNORECASE,
)


def mentions(question: Question, timeline: Timeline) -> tuple[Mention, ...]:
    """Return the names in a question, the things of a timeline that each fits, and whether the answer contains it."""
    found = []
    matches = list(_NAME.finditer(question.text))
    said = [match[0].lower() in question.answer for match in matches]
    offered = any(said) and not all(said)
    for match, is_said in zip(matches, said, strict=True):
        name = {key: word and word.lower() for key, word in match.groupdict().items()}
        shape = name["shape"] or name["only"]
        things = tuple(
            track.number
            for track in timeline.tracks
            if shape in (None, track.shape) and (name["colour"] is None or name["colour"] in track.seen_colours)
        )
        found.append(Mention(match.end(), things, is_said if offered else None))
    return tuple(found)
