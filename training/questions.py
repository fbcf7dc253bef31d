"""Questions about a scene, with answers true of it; each kind is a function, so that a new kind is a new function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.phrasings import (
    BACKGROUND_FORMS,
    COLOUR_FORMS,
    COUNT_FORMS,
    DESCRIBE_FORMS,
    EXISTS_FORMS,
    SHAPE_FORMS,
    pick,
    vary,
    with_article,
    word_for_colour,
    word_for_thing,
)
from training.pool import render_clip
from training.scenes import COLOURS, SHAPES, Scene, Thing

NUMBERS = ("zero", "one", "two", "three", "four", "five")
# Large true counts are rare, so they are drawn more often than they occur.
COUNT_WEIGHTS = (0.4, 0.4, 1.2, 2.0, 3.0, 3.0)
KINDS = ("colour", "shape", "exists", "count", "describe", "background")
TEST_QUOTA = {"colour": 2, "shape": 2, "exists": 3, "count": 3, "describe": 1, "background": 1}
TRAIN_QUOTA = {"colour": 5, "shape": 3, "exists": 4, "count": 6, "describe": 1, "background": 1}
COUNT_QUOTA = {"colour": 2, "shape": 2, "exists": 5, "count": 10, "describe": 1, "background": 1}


@dataclass(frozen=True)
class Question:
    """A question, its answer, and its kind."""

    text: str
    answer: str
    kind: str


Ask = Callable[[Scene, np.random.Generator, int], list[Question]]


def ask(scene: Scene, rng: np.random.Generator, quota: dict[str, int], backwards: bool = False) -> list[Question]:
    """Draw at most `quota[kind]` questions of each kind; `backwards` asks about the clip played in reverse."""
    questions: list[Question] = []
    for kind, most in quota.items():
        if kind == "describe":
            questions += _describe(scene, rng, most, backwards)
        else:
            questions += _ASKERS[kind](scene, rng, most)
    return [Question(vary(rng, question.text), question.answer, question.kind) for question in questions]


def _colour(scene: Scene, rng: np.random.Generator, most: int) -> list[Question]:
    counts = Counter(thing.shape for thing in scene.things)
    unique = [thing for thing in scene.things if counts[thing.shape] == 1]
    chosen = _some(rng, unique, most)
    return [
        Question(pick(rng, COLOUR_FORMS, colour=word_for_colour(rng), shape=thing.shape), thing.colour, "colour")
        for thing in chosen
    ]


def _shape(scene: Scene, rng: np.random.Generator, most: int) -> list[Question]:
    counts = Counter(thing.colour for thing in scene.things)
    unique = [thing for thing in scene.things if counts[thing.colour] == 1]
    questions = []
    for thing in _some(rng, unique, most):
        word = word_for_thing(rng)
        # "What shape is the red shape?" is nobody's English.
        forms = ("what is the {colour} {thing}?", "which shape is {colour}?") if word == "shape" else SHAPE_FORMS
        text = pick(rng, forms, colour=thing.colour, thing=word)
        questions.append(Question(text, thing.shape, "shape"))
    return questions


def _some(rng: np.random.Generator, things: list[Thing], most: int) -> list[Thing]:
    order = rng.permutation(len(things))[:most]
    return [things[index] for index in order]


def _exists(scene: Scene, rng: np.random.Generator, most: int) -> list[Question]:
    questions = []
    for _ in range(most):
        truth = bool(rng.random() < 0.5)
        name = _present_name(scene, rng) if truth else _absent_name(scene, rng)
        a_name = f"anything {name}" if name in COLOURS else with_article(name)
        if name in COLOURS and rng.random() < 0.5:
            a_name = with_article(f"{name} {word_for_thing(rng)}")
        text = pick(rng, EXISTS_FORMS, a_name=a_name)
        questions.append(Question(text, "yes" if truth else "no", "exists"))
    return questions


def _present_name(scene: Scene, rng: np.random.Generator) -> str:
    thing = scene.things[rng.integers(len(scene.things))]
    return (f"{thing.colour} {thing.shape}", thing.shape, thing.colour)[rng.choice(3, p=(0.6, 0.2, 0.2))]


def _absent_name(scene: Scene, rng: np.random.Generator) -> str:
    shapes, colours = {thing.shape for thing in scene.things}, {thing.colour for thing in scene.things}
    pairs = {(thing.colour, thing.shape) for thing in scene.things}
    missing_shapes = [shape for shape in SHAPES if shape not in shapes]
    missing_colours = [colour for colour in COLOURS if colour not in colours]
    form = rng.choice(3, p=(0.6, 0.2, 0.2))
    if form == 1 and missing_shapes:
        return str(rng.choice(missing_shapes))
    if form == 2:
        return str(rng.choice(missing_colours))
    # Hard ones keep the colour or the shape of something present.
    swapped = [(c, s) for c in sorted(colours) for s in sorted(shapes) if (c, s) not in pairs]
    if swapped and rng.random() < 0.4:
        colour, shape = swapped[rng.integers(len(swapped))]
    else:
        thing = scene.things[rng.integers(len(scene.things))]
        colour, shape = thing.colour, thing.shape
        while (colour, shape) in pairs:
            if rng.random() < 0.5:
                colour, shape = str(rng.choice(COLOURS)), thing.shape
            else:
                colour, shape = thing.colour, str(rng.choice(SHAPES))
    return f"{colour} {shape}"


def _count(scene: Scene, rng: np.random.Generator, most: int) -> list[Question]:
    if len(scene.shots) > 1:  # Whether a thing seen in both shots counts twice is a matter of opinion.
        return []
    names = {word_for_thing(rng) + "s": len(scene.things)}
    by_shape = Counter(thing.shape for thing in scene.things)
    by_colour = Counter(thing.colour for thing in scene.things)
    names |= {f"{shape}s": by_shape[shape] for shape in SHAPES}
    names |= {f"{colour} {word_for_thing(rng)}s": by_colour[colour] for colour in COLOURS}
    by_both = Counter((thing.colour, thing.shape) for thing in scene.things)
    names |= {f"{colour} {shape}s": number for (colour, shape), number in by_both.items()}
    names |= {_absent_name(scene, rng) + "s": 0 for _ in range(2)}
    for colour in COLOURS:
        names.pop(f"{colour}s", None)
    groups: dict[int, list[str]] = {}
    for name, number in names.items():
        groups.setdefault(number, []).append(name)
    questions = []
    for _ in range(most):
        numbers = sorted(groups)
        weights = np.array([COUNT_WEIGHTS[number] for number in numbers])
        number = int(rng.choice(numbers, p=weights / weights.sum()))
        name = groups[number].pop(rng.integers(len(groups[number])))
        if not groups[number]:
            del groups[number]
        questions.append(Question(pick(rng, COUNT_FORMS, names=name), NUMBERS[number], "count"))
        if not groups:
            break
    return questions


def _describe(scene: Scene, rng: np.random.Generator, most: int, backwards: bool) -> list[Question]:
    if most == 0:
        return []
    sentences = []
    shots = scene.shots[::-1] if backwards else scene.shots
    for shot in shots:
        things = sorted(shot.things, key=lambda thing: thing.place(1.0 if backwards else 0.0)[0])
        named = [with_article(f"{thing.colour} {thing.shape}") for thing in things]
        listed = named[0] if len(named) == 1 else ", ".join(named[:-1]) + " and " + named[-1]
        sentences.append(f"{listed} on a {shot.background} background")
    answer = ", then ".join(sentences) + "."
    return [Question(pick(rng, DESCRIBE_FORMS), answer, "describe")]


def _background(scene: Scene, rng: np.random.Generator, most: int) -> list[Question]:
    if most == 0 or len(scene.shots) > 1:
        return []
    text = pick(rng, BACKGROUND_FORMS, colour=word_for_colour(rng))
    return [Question(text, scene.shots[0].background, "background")]


_ASKERS: dict[str, Ask] = {
    "colour": _colour,
    "shape": _shape,
    "exists": _exists,
    "count": _count,
    "background": _background,
}


def clip_with_questions(
    seed: int, frames: int = 16, quota: dict[str, int] = TEST_QUOTA
) -> tuple[np.ndarray, list[Question]]:
    """Render the clip of a seed, uint8 (frames, height, width, 3), and ask about it."""
    scene, pixels, _ = render_clip(seed, frames)
    return pixels, ask(scene, np.random.default_rng((seed, 1)), quota)
