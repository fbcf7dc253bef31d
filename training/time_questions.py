"""Questions that only the course of time answers: motion, order, change, events, and what happens from start to end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from training.phrasings import phrase
from training.question import Question, some
from training.still_questions import name_of
from training.timeline import Occurrence, Timeline, Track, article

STAYS = "it stays still"
NOTHING = "nothing"
# Of the clips without an event, the share that is asked for it: "nothing" must not become the best guess.
NOTHING_SHARE = 0.03


def motion(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask which way a thing moves, and what moves; staying still is no likelier than a direction."""
    clear = [track for track in timeline.tracks if timeline.named(track)]
    movers = [track for track in clear if track.direction is not None]
    still = [track for track in clear if track.still and track.visible.sum() > 1]
    questions = []
    for track in some(rng, movers, most):
        text = phrase(rng, "motion", name=name_of(timeline, track, rng))
        questions.append(Question(text, str(track.direction), "motion"))
    for track in some(rng, still, 1 if rng.random() < 0.11 else 0):
        questions.append(Question(phrase(rng, "motion", name=name_of(timeline, track, rng)), STAYS, "motion"))
    moving = [track for track in timeline.tracks if track.direction is not None]
    if timeline.clear and len(moving) == 1 and rng.random() < 0.4:
        questions.append(Question(phrase(rng, "mover"), f"the {moving[0].colour} {moving[0].shape}", "motion"))
    return some(rng, questions, most)


def order(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask what happens first, last, before or after; only where at least two things happen, one after the other."""
    happened = timeline.occurrences
    clauses = {occurrence.clause for occurrence in happened}
    if not timeline.ordered or len(happened) < 2 or len(clauses) < len(happened):
        return []
    questions = [
        Question(phrase(rng, "first"), happened[0].clause, "order"),
        Question(phrase(rng, "last"), happened[-1].clause, "order"),
        _sooner(happened, rng),
    ]
    for sooner, later in pairwise(happened):
        questions.append(Question(phrase(rng, "after", clause=sooner.clause), later.clause, "order"))
        questions.append(Question(phrase(rng, "before", clause=later.clause), sooner.clause, "order"))
    return some(rng, questions, most)


def _sooner(happened: tuple[Occurrence, ...], rng: np.random.Generator) -> Question:
    chosen = sorted(rng.choice(len(happened), 2, replace=False).tolist())
    clauses = [happened[place].clause for place in chosen]
    one, other = clauses if rng.random() < 0.5 else clauses[::-1]
    return Question(phrase(rng, "sooner", one=one, other=other), clauses[0], "order")


def change(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask what turns which colour, and whether a thing does."""
    turning = [one.track for one in timeline.occurrences if one.kind == "turns"]
    turned = [track for track in turning if timeline.named(track)]
    steady = [track for track in timeline.tracks if len(track.seen_colours) == 1 and timeline.named(track)]
    questions = []
    for track in turned:
        questions.append(Question(phrase(rng, "turns", name=name_of(timeline, track, rng)), _new(track), "change"))
        if sum(other.shape == track.shape for other in timeline.tracks) == 1:
            questions.append(Question(phrase(rng, "turned", shape=track.shape), track.colour, "change"))
    if len(turning) == 1:
        questions.append(Question(phrase(rng, "turner"), f"the {turning[0].colour} {turning[0].shape}", "change"))
    questions = some(rng, questions, most)
    # As many yeses as noes over all clips: about one clip in six has a thing that turns.
    for track in some(rng, turned, 1):
        if rng.random() < 0.4:
            questions.append(_changes(timeline, track, rng, "yes"))
    for track in some(rng, steady, 1 if rng.random() < (0.2 if turned else 0.02) else 0):
        questions.append(_changes(timeline, track, rng, "no"))
    return some(rng, questions, most)


def _changes(timeline: Timeline, track: Track, rng: np.random.Generator, answer: str) -> Question:
    return Question(phrase(rng, "changes", name=name_of(timeline, track, rng)), answer, "change")


def _new(track: Track) -> str:
    return next(colour for colour in track.colours[track.first :] if colour != track.colour)


def event(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask what flashes up, appears or disappears, and what happens to a thing."""
    happened = timeline.occurrences
    questions = []
    for kind in ("flashes", "appears", "disappears"):
        fit = [one.track for one in happened if one.kind == kind]
        if len(fit) == 1:
            questions.append(Question(phrase(rng, kind), article(f"{fit[0].colour} {fit[0].shape}"), "event"))
        elif not fit and rng.random() < NOTHING_SHARE:
            questions.append(Question(phrase(rng, kind), NOTHING, "event"))
    for one in happened:
        if timeline.clear and timeline.named(one.track) and sum(other.track is one.track for other in happened) == 1:
            text = phrase(rng, "happens", name=name_of(timeline, one.track, rng))
            questions.append(Question(text, _it(one), "event"))
    return some(rng, questions, most)


def _it(occurrence: Occurrence) -> str:
    """Tell an occurrence of a thing just named: "it moves left"."""
    verb = {"flashes": "flashes up"}.get(occurrence.kind, occurrence.kind)
    return "it " + occurrence.clause[occurrence.clause.index(verb) :]


def describe(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for a description in two to four sentences: what is there at first, then what happens."""
    if most == 0 or not timeline.ordered:
        return []
    return [Question(phrase(rng, "describe"), description(timeline), "describe")]


def description(timeline: Timeline) -> str:
    """Describe a clip: the things of the first frame from left to right, then each occurrence in its turn."""
    there = sorted((track for track in timeline.tracks if track.first == 0), key=lambda track: track.places[0, 0])
    named = [f"{article(f'{track.colour} {track.shape}')} {track.place(0)}" for track in there]
    listed = ", ".join(named[:-1]) + " and " + named[-1] if len(named) > 1 else "".join(named)
    sentences = [f"at first there is {listed or NOTHING}."]
    sentences += [f"then {occurrence.clause}." for occurrence in timeline.occurrences]
    if len(sentences) == 1:
        sentences.append("nothing happens.")
    return " ".join(sentences)
