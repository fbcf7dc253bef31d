"""Extract facts from descriptions, and score descriptions by precision and recall of facts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training.scenes import COLOURS, SHAPES
from training.time_questions import description
from training.timeline import PLACES, Timeline

_NAME = rf"(?P<name>(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)}))"
_PLACE = rf"(?P<place>{'|'.join(sorted((place for row in PLACES for place in row), key=len, reverse=True))})"
_VERB = rf"(?P<verb>appears|disappears|flashes up|moves \w+|turns (?:{'|'.join(COLOURS)})(?: for a moment)?)"
_THERE = re.compile(rf"\ban? {_NAME}(?: {_PLACE})?")
_HAPPENS = re.compile(rf"\b(?:an?|the) {_NAME} {_VERB}(?: {_PLACE})?")


def facts(text: str) -> set[tuple[str, ...]]:
    """Extract facts: (thing, predicate) or (thing, predicate, place); other text is ignored."""
    start, *rest = text.split("then ")
    found: set[tuple[str, ...]] = set()
    for match in _THERE.finditer(start):
        found.add((match["name"], "is there at first"))
        if match["place"]:
            found.add((match["name"], "is at first", match["place"]))
    for clause in rest:
        for match in _HAPPENS.finditer(clause):
            found.add((match["name"], match["verb"]))
            if match["place"]:
                found.add((match["name"], match["verb"], match["place"]))
    return found


@dataclass(frozen=True)
class DescriptionScore:
    """Precision and recall of the stated facts, and whether a thing is named that does not exist."""

    precision: float
    recall: float
    invented: bool


def score_description(text: str, timeline: Timeline) -> DescriptionScore:
    """Compare a description with the true one; a description without facts has precision 0."""
    stated, true = facts(text), facts(description(timeline))
    real = {f"{colour} {track.shape}" for track in timeline.tracks for colour in track.seen_colours}
    right = len(stated & true)
    return DescriptionScore(
        precision=right / len(stated) if stated else float(not true),
        recall=right / len(true) if true else 1.0,
        invented=any(fact[0] not in real for fact in stated),
    )
