"""Questions answered by single frames: colour, shape, existence, count, background, position, relation."""

from __future__ import annotations

from collections import Counter

import numpy as np

from training.phrasings import phrase, word_for_thing
from training.question import Question, some
from training.scenes import COLOURS, SHAPES
from training.timeline import Timeline, Track, article

NUMBERS = ("zero", "one", "two", "three", "four", "five")
# Large counts are rare in scenes, so they get larger weights.
COUNT_WEIGHTS = (0.25, 0.4, 1.2, 2.0, 3.0, 3.0)
MARGIN = 0.05  # of the frame; minimum distance from the border of another place
APART = 0.15  # of the frame; minimum distance for one thing to be left of or above another
RELATIONS = (("left of", "right of", "further left", "further right"), ("above", "below", "higher", "lower"))


def colour(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for the colour of the only thing of its shape."""
    shapes = Counter(track.shape for track in timeline.tracks)
    fit = [track for track in timeline.tracks if shapes[track.shape] == 1 and len(track.seen_colours) == 1]
    return [
        Question(phrase(rng, "colour", shape=track.shape), track.colour, "colour").with_target(track.region())
        for track in some(rng, fit, most)
    ]


def shape(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for the shape of the only thing of its colour."""
    colours = Counter(one for track in timeline.tracks for one in track.seen_colours)
    fit = [track for track in timeline.tracks if colours[track.colour] == 1 and len(track.seen_colours) == 1]
    questions = []
    for track in some(rng, fit, most):
        # Avoids "what shape is the red shape?".
        word = word_for_thing(rng).replace("shape", "object")
        question = Question(phrase(rng, "shape", name=track.colour, thing=word), track.shape, "shape")
        questions.append(question.with_target(track.region()))
    return questions


def exists(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask whether a thing is visible at any time; half of the answers are yes."""
    questions = []
    for _ in range(most):
        track = timeline.tracks[rng.integers(len(timeline.tracks))] if timeline.tracks and rng.random() < 0.5 else None
        name = _name_for(track, rng) if track else _absent_name(timeline, rng)
        a_name = f"anything {name}" if name in COLOURS else article(name)
        if name in COLOURS and rng.random() < 0.5:
            a_name = article(f"{name} {word_for_thing(rng)}")
        question = Question(phrase(rng, "exists", a_name=a_name), "yes" if track else "no", "exists")
        questions.append(question.with_target(track.region()) if track else question)
    return questions


def _name_for(track: Track, rng: np.random.Generator) -> str:
    return (f"{track.colour} {track.shape}", track.shape, track.colour)[rng.choice(3, p=(0.6, 0.2, 0.2))]


def _absent_name(timeline: Timeline, rng: np.random.Generator) -> str:
    shapes = {track.shape for track in timeline.tracks}
    pairs = {(one, track.shape) for track in timeline.tracks for one in track.seen_colours}
    colours = {one for one, _ in pairs}
    missing_shapes = [one for one in SHAPES if one not in shapes]
    missing_colours = [one for one in COLOURS if one not in colours]
    form = rng.choice(3, p=(0.6, 0.2, 0.2))
    if form == 1 and missing_shapes:
        return str(rng.choice(missing_shapes))
    if (form == 2 and missing_colours) or not pairs:
        return str(rng.choice(missing_colours))
    # Hard negatives share a colour or a shape with a visible thing.
    swapped = [(c, s) for c in sorted(colours) for s in sorted(shapes) if (c, s) not in pairs]
    near = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in pairs and (c in colours or s in shapes)]
    choices = swapped if swapped and rng.random() < 0.4 else near
    return " ".join(choices[rng.integers(len(choices))])


def count(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for the number of things of a name, for names whose count is the same in every frame."""
    groups: dict[int, list[str]] = {}
    for name, number in _countable(timeline, rng).items():
        groups.setdefault(number, []).append(name)
    questions: list[Question] = []
    while groups and len(questions) < most:
        numbers = sorted(groups)
        weights = np.array([COUNT_WEIGHTS[number] for number in numbers])
        number = int(rng.choice(numbers, p=weights / weights.sum()))
        name = groups[number].pop(rng.integers(len(groups[number])))
        if not groups[number]:
            del groups[number]
        questions.append(Question(phrase(rng, "count", names=name), NUMBERS[number], "count"))
    return questions


def _countable(timeline: Timeline, rng: np.random.Generator) -> dict[str, int]:
    """Return the count of each name whose count is the same in every frame."""
    always = Counter({"things": 0})
    unsteady: set[str] = set()
    names = {shape: f"{shape}s" for shape in SHAPES} | {colour: f"{colour} things" for colour in COLOURS}
    for track in timeline.tracks:
        for one in track.seen_colours:
            of = ("things", names[track.shape], names[one], f"{one} {track.shape}s")
            if track.always:
                always.update(of)
            else:
                unsteady.update(of)
    always.update(dict.fromkeys(names.values(), 0))
    always.update({_absent_name(timeline, rng) + "s": 0 for _ in range(2)})
    for colour in COLOURS:
        always.pop(f"{colour}s", None)
    return {
        name.replace("things", word_for_thing(rng) + "s"): number
        for name, number in always.items()
        if name not in unsteady
    }


def background(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for the colour of the background, once."""
    return [Question(phrase(rng, "background"), timeline.background, "background")][:most]


def position(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask where a thing is, or, if it moves, where it is at the start or at the end."""
    questions = []
    for track in some(rng, [track for track in timeline.tracks if timeline.named(track)], most):
        form, frame = "position", track.first
        if not track.still:
            at_end = rng.random() < 0.5
            form, frame = ("position_end", track.last) if at_end else ("position_start", track.first)
        place = track.place(frame, MARGIN)
        if place is not None:
            text = phrase(rng, form, name=name_of(timeline, track, rng))
            region = track.region() if track.still else track.region(frame, frame)
            questions.append(Question(text, place, "position").with_target(region))
    return questions


def relation(timeline: Timeline, rng: np.random.Generator, most: int) -> list[Question]:
    """Ask for the relative position of two things that do not move."""
    fit = [track for track in timeline.tracks if track.still and timeline.named(track)]
    pairs = [(one, other) for one in fit for other in fit if one is not other]
    questions = []
    for one, other in some(rng, pairs, most):
        axis = int(rng.integers(2))
        apart = float(one.places[one.first][axis] - other.places[other.first][axis])
        if abs(apart) >= APART:
            questions.append(_related(timeline, rng, one, other, axis, apart < 0))
    return questions


def _related(
    timeline: Timeline, rng: np.random.Generator, one: Track, other: Track, axis: int, one_is_less: bool
) -> Question:
    less, more, further_less, further_more = RELATIONS[axis]
    names = {"one": name_of(timeline, one, rng), "other": name_of(timeline, other, rng)}
    asked_less = bool(rng.random() < 0.5)
    if rng.random() < 0.5:
        text = phrase(rng, "relation", relation=less if asked_less else more, **names)
        truth = "yes" if asked_less == one_is_less else "no"
        return Question(text, truth, "relation").with_target(one.region(), other.region())
    text = phrase(rng, "which", further=further_less if asked_less else further_more, **names)
    answer = f"the {names['one' if asked_less == one_is_less else 'other']}"
    return Question(text, answer, "relation").with_target(one.region(), other.region())


def name_of(timeline: Timeline, track: Track, rng: np.random.Generator) -> str:
    """Name a thing by its shape, if no other has it, or by colour and shape."""
    alone = sum(other.shape == track.shape for other in timeline.tracks) == 1
    return track.shape if alone and rng.random() < 0.4 else f"{track.colour} {track.shape}"
