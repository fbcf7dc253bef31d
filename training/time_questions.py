"""Questions that need several frames: motion, order, change, event, description."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from training.phrasings import phrase
from training.question import AttentionTarget, Question, Region, some
from training.still_questions import name_of
from training.timeline import Occurrence, Timeline, Track, article

STAYS = "it stays still"
NOTHING = "nothing"
# Share of clips without an event that are asked about it; low, so that "nothing" is not the best guess.
NOTHING_SHARE = 0.03


def motion(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask in which direction a thing moves, and what moves; `it stays still` is as frequent as a direction."""
    clear = [track for track in timeline.tracks if timeline.named(track)]
    movers = [track for track in clear if track.direction is not None]
    still = [track for track in clear if track.still and track.visible.sum() > 1]
    questions = []
    for track in some(rng, movers, most):
        text = phrase(rng, "motion", name=name_of(timeline, track, rng))
        question = Question(text, str(track.direction), "motion")
        questions.append(question.with_target(track.region(track.last), track.region(track.first, track.first)))
    for track in some(rng, still, 1 if rng.random() < 0.11 else 0):
        question = Question(phrase(rng, "motion", name=name_of(timeline, track, rng)), STAYS, "motion")
        questions.append(question.with_target(track.region(track.last), track.region(track.first, track.first)))
    moving = [track for track in timeline.tracks if track.direction is not None]
    if timeline.clear and len(moving) == 1 and rng.random() < 0.4:
        question = Question(phrase(rng, "mover"), f"the {moving[0].colour} {moving[0].shape}", "motion")
        questions.append(question.with_target(moving[0].region(moving[0].last)))
    return some(rng, questions, most)


def order(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask what happens first, last, before or after, in clips with at least two occurrences in different frames."""
    happened = timeline.occurrences
    clauses = {occurrence.clause for occurrence in happened}
    if not timeline.ordered or len(happened) < 2 or len(clauses) < len(happened):
        return []
    questions = [
        _order_question(phrase(rng, "first"), happened[0]),
        _order_question(phrase(rng, "last"), happened[-1]),
        _sooner(happened, rng),
    ]
    for sooner, later in pairwise(happened):
        questions.append(_order_question(phrase(rng, "after", clause=sooner.clause), later, sooner))
        questions.append(_order_question(phrase(rng, "before", clause=later.clause), sooner, later))
    return some(rng, questions, most)


def _sooner(happened: tuple[Occurrence, ...], rng: np.random.Generator) -> Question:
    chosen = sorted(rng.choice(len(happened), 2, replace=False).tolist())
    sooner, later = (happened[place] for place in chosen)
    one, other = (sooner, later) if rng.random() < 0.5 else (later, sooner)
    return _order_question(phrase(rng, "sooner", one=one.clause, other=other.clause), sooner, later)


def _order_question(text: str, answer: Occurrence, basis: Occurrence | None = None) -> Question:
    return Question(text, answer.clause, "order").with_target(answer.region, basis and basis.region)


def change(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for the old or new colour of a thing, for the thing that turns, and whether a thing turns."""
    turning = [one for one in timeline.occurrences if one.kind == "turns"]
    turned = [one for one in turning if timeline.named(one.track)]
    steady = [track for track in timeline.tracks if len(track.seen_colours) == 1 and timeline.named(track)]
    questions = []
    for one in turned:
        question = Question(
            phrase(rng, "turns", name=name_of(timeline, one.track, rng)), _new_colour(one.track), "change"
        )
        questions.append(question.with_target(_turned_region(one)))
        if sum(other.shape == one.track.shape for other in timeline.tracks) == 1:
            question = Question(phrase(rng, "turned", shape=one.track.shape), one.track.colour, "change")
            questions.append(question.with_target(one.track.region(last=one.frame - 1), one.region))
    if len(turning) == 1:
        track = turning[0].track
        question = Question(phrase(rng, "turner"), f"the {track.colour} {track.shape}", "change")
        questions.append(question.with_target(_turned_region(turning[0])))
    questions = some(rng, questions, most)
    # Balances yes and no over all clips: about one clip in six contains a thing that turns.
    for one in some(rng, turned, 1):
        if rng.random() < 0.4:
            questions.append(_changes(timeline, one.track, rng, "yes").with_target(_turned_region(one)))
    for track in some(rng, steady, 1 if rng.random() < (0.2 if turned else 0.02) else 0):
        questions.append(_changes(timeline, track, rng, "no").with_target(track.region()))
    return some(rng, questions, most)


def _changes(timeline: Timeline, track: Track, rng: np.random.Generator, answer: str) -> Question:
    return Question(phrase(rng, "changes", name=name_of(timeline, track, rng)), answer, "change")


def _turned_region(one: Occurrence) -> Region:
    """Return the frames in which a thing has the colour that it turned to; it may turn back."""
    colours = one.track.colours
    back = (frame for frame in range(one.frame, one.track.last + 1) if colours[frame] != colours[one.frame])
    return one.track.region(one.frame, next(back, one.track.last + 1) - 1)


def _new_colour(track: Track) -> str:
    return next(colour for colour in track.colours[track.first :] if colour != track.colour)


def event(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask what flashes up, appears or disappears, and what happens to a thing."""
    happened = timeline.occurrences
    questions = []
    for kind in ("flashes", "appears", "disappears"):
        fit = [one for one in happened if one.kind == kind]
        if len(fit) == 1:
            answer = article(f"{fit[0].track.colour} {fit[0].track.shape}")
            questions.append(Question(phrase(rng, kind), answer, "event").with_target(fit[0].region))
        elif not fit and rng.random() < NOTHING_SHARE:
            questions.append(Question(phrase(rng, kind), NOTHING, "event"))
    for one in happened:
        if timeline.clear and timeline.named(one.track) and sum(other.track is one.track for other in happened) == 1:
            text = phrase(rng, "happens", name=name_of(timeline, one.track, rng))
            questions.append(Question(text, _clause_with_pronoun(one), "event").with_target(one.region))
    return some(rng, questions, most)


def _clause_with_pronoun(occurrence: Occurrence) -> str:
    """Return the clause of an occurrence with a pronoun: "it moves left"."""
    verb = {"flashes": "flashes up"}.get(occurrence.kind, occurrence.kind)
    return "it " + occurrence.clause[occurrence.clause.index(verb) :]


def describe(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for a description in two to four sentences: the things of the first frame, then the occurrences."""
    if most == 0 or not timeline.ordered:
        return []
    answer = description(timeline)
    return [Question(phrase(rng, "describe"), answer, "describe", _description_targets(timeline, answer))]


def _description_targets(timeline: Timeline, answer: str) -> tuple[AttentionTarget, ...]:
    """Return an attention target for each thing of the first frame, then for each occurrence."""
    parts = [(_opening(track), track.region(0, 0)) for track in _first_things(timeline)]
    parts += [(f"then {one.clause}", one.region) for one in timeline.occurrences]
    attention_targets: list[AttentionTarget] = []
    end = 0
    for words, region in parts:
        end = answer.index(words, end) + len(words)
        attention_targets.append(
            AttentionTarget(end, attention_targets[-1].stated if attention_targets else region, region)
        )
    return tuple(attention_targets)


def _first_things(timeline: Timeline) -> list[Track]:
    return sorted((track for track in timeline.tracks if track.first == 0), key=lambda track: track.places[0, 0])


def _opening(track: Track) -> str:
    return f"{article(f'{track.colour} {track.shape}')} {track.place(0)}"


def description(timeline: Timeline) -> str:
    """Describe a clip: the things of the first frame from left to right, then each occurrence in order."""
    named = [_opening(track) for track in _first_things(timeline)]
    listed = ", ".join(named[:-1]) + " and " + named[-1] if len(named) > 1 else "".join(named)
    sentences = [f"at first there is {listed or NOTHING}."]
    sentences += [f"then {occurrence.clause}." for occurrence in timeline.occurrences]
    if len(sentences) == 1:
        sentences.append("nothing happens.")
    return " ".join(sentences)
