"""Scenes of the sample videos, and questions about them with true answers."""

from __future__ import annotations

from dataclasses import dataclass

from training.question import Question
from training.scenes import Event, Scene, Thing

WIDE, TALL = (854, 480), (480, 854)
ALWAYS = 2.0  # an end time after the end of every clip


@dataclass(frozen=True)
class Sample:
    """A clip to render: scene, length in seconds, frames per second, and questions."""

    name: str
    scene: Scene
    seconds: float
    rate: int
    questions: tuple[Question, ...]


def samples() -> list[Sample]:
    """Return all sample clips."""
    return [
        _cube(),
        _ball_and_cone(),
        _one_ring(),
        _counting(),
        _five_things(),
        _long(),
        _portrait(),
        _one_after_another(),
    ]


def _cube() -> Sample:
    move = Event("move", 0.3, 0.8, (0.6, 0.62))
    things = (
        Thing("cube", "red", 0.44, (0.2, 0.62), 0.4, move),
        Thing("star", "yellow", 0.34, (0.84, 0.25), 0.4),
    )
    questions = (
        Question("what colour is the cube?", "red", "colour"),
        Question("what color is the star?", "yellow", "colour"),
        Question("what shape is the red object?", "cube", "shape"),
        Question("is there a red cube?", "yes", "exists"),
        Question("is there a yellow cube?", "no", "exists"),
        Question("how many objects are there?", "two", "count"),
        Question("where is the star?", "at the top right", "position"),
        Question("which way does the cube move?", "right", "motion"),
        Question(
            "describe the video.",
            "at first there is a red cube on the left and a yellow star at the top right. "
            "then the red cube moves right.",
            "describe",
        ),
    )
    return Sample("cube", Scene(things, WIDE, "grey", "floor"), 9, 25, questions)


def _ball_and_cone() -> Sample:
    things = (
        Thing("ball", "blue", 0.3, (0.12, 0.25), 0.5, Event("move", 0.0, 1.0, (0.88, 0.25))),
        Thing("cone", "green", 0.46, (0.5, 0.74)),
    )
    questions = (
        Question("what colour is the ball?", "blue", "colour"),
        Question("what colour is the cone?", "green", "colour"),
        Question("what is the green thing?", "cone", "shape"),
        Question("is there a blue cone?", "no", "exists"),
        Question("how many objects are in the video?", "two", "count"),
        Question("what moves?", "the blue ball", "motion"),
        Question("where does the ball end up?", "at the top right", "position"),
        Question("is the cone shown below the ball?", "yes", "relation"),
    )
    return Sample("ball_and_cone", Scene(things, WIDE, "brown", "gradient"), 6, 30, questions)


def _one_ring() -> Sample:
    things = (Thing("ring", "purple", 0.5, (0.5, 0.5)),)
    questions = (
        Question("what colour is the ring?", "purple", "colour"),
        Question("what shape is the purple object?", "ring", "shape"),
        Question("is there a star?", "no", "exists"),
        Question("how many things do you see?", "one", "count"),
        Question("what colour is the background?", "teal", "background"),
        Question("which way does the ring move?", "it stays still", "motion"),
        Question(
            "describe what you see.", "at first there is a purple ring in the middle. nothing happens.", "describe"
        ),
    )
    return Sample("one_ring", Scene(things, WIDE, "teal", "cloudy"), 4, 24, questions)


def _counting() -> Sample:
    things = (
        Thing("cube", "orange", 0.3, (0.15, 0.2), 0.2),
        Thing("cube", "orange", 0.32, (0.5, 0.72), 0.7),
        Thing("cube", "blue", 0.3, (0.82, 0.2)),
        Thing("ball", "white", 0.28, (0.15, 0.8)),
    )
    questions = (
        Question("how many objects are there?", "four", "count"),
        Question("how many cubes are there?", "three", "count"),
        Question("how many orange cubes are there?", "two", "count"),
        Question("how many cones are there?", "zero", "count"),
        Question("what colour is the ball?", "white", "colour"),
        Question("is there a blue cube?", "yes", "exists"),
        Question("is there a white cube?", "no", "exists"),
        Question("where is the blue cube?", "at the top right", "position"),
    )
    return Sample("counting", Scene(things, WIDE, "grey", "gradient"), 8, 25, questions)


def _five_things() -> Sample:
    things = (
        Thing("cylinder", "green", 0.32, (0.12, 0.26)),
        Thing("star", "yellow", 0.3, (0.4, 0.22), 0.6),
        Thing("ball", "red", 0.3, (0.85, 0.8), 0.5, Event("move", 0.2, 0.9, (0.15, 0.8))),
        Thing("ring", "blue", 0.28, (0.64, 0.26)),
        Thing("cone", "purple", 0.3, (0.89, 0.26)),
    )
    questions = (
        Question("how many objects are there?", "five", "count"),
        Question("what colour is the cylinder?", "green", "colour"),
        Question("what shape is the purple object?", "cone", "shape"),
        Question("is there a red ball?", "yes", "exists"),
        Question("is there a red star?", "no", "exists"),
        Question("in which direction does the red ball move?", "left", "motion"),
        Question("which is further left, the blue ring or the yellow star?", "the yellow star", "relation"),
    )
    return Sample("five_things", Scene(things, WIDE, "pink", "flat"), 10, 24, questions)


def _long() -> Sample:
    things = (
        Thing("cylinder", "black", 0.4, (0.2, 0.5)),
        Thing("cone", "orange", 0.36, (0.5, 0.2), 0.5, Event("move", 0.1, 0.5, (0.5, 0.8))),
        Thing("cone", "white", 0.36, (0.82, 0.5), 0.5, Event("exit", 0.75, ALWAYS)),
    )
    questions = (
        Question("what colour is the cylinder?", "black", "colour"),
        Question("what shape is the orange object?", "cone", "shape"),
        Question("is there a black cone?", "no", "exists"),
        Question("which way does the orange cone move?", "down", "motion"),
        Question("what disappears?", "a white cone", "event"),
        Question("what happens first?", "the orange cone moves down", "order"),
        Question("what happens last?", "the white cone disappears", "order"),
    )
    return Sample("long", Scene(things, WIDE, "teal", "floor"), 20, 25, questions)


def _portrait() -> Sample:
    things = (
        Thing("star", "red", 0.5, (0.5, 0.2), 0.3),
        Thing("ball", "green", 0.44, (0.5, 0.8), 0.5, Event("turn", 0.5, ALWAYS, "blue")),
    )
    questions = (
        Question("what colour is the star?", "red", "colour"),
        Question("is there a green star?", "no", "exists"),
        Question("what colour does the ball turn?", "blue", "change"),
        Question("what colour was the ball at the start?", "green", "change"),
        Question("what changes colour?", "the green ball", "change"),
        Question("where is the star?", "at the top", "position"),
    )
    return Sample("portrait", Scene(things, TALL, "grey", "cloudy"), 7, 30, questions)


def _one_after_another() -> Sample:
    things = (
        Thing("cube", "blue", 0.36, (0.2, 0.25), 0.3, Event("exit", 0.75, ALWAYS)),
        Thing("ring", "yellow", 0.36, (0.5, 0.75), 0.5, Event("flash", 0.5, 0.62)),
        Thing("cone", "purple", 0.36, (0.8, 0.25), 0.5, Event("enter", 0.25, ALWAYS)),
    )
    questions = (
        Question("what appears?", "a purple cone", "event"),
        Question("what flashes up?", "a yellow ring", "event"),
        Question("what disappears?", "a blue cube", "event"),
        Question("what happens first?", "a purple cone appears at the top right", "order"),
        Question("what happens last?", "the blue cube disappears", "order"),
        Question(
            "what happens after a purple cone appears at the top right?",
            "a yellow ring flashes up at the bottom",
            "order",
        ),
        Question(
            "describe the video.",
            "at first there is a blue cube at the top left. then a purple cone appears at the top right. "
            "then a yellow ring flashes up at the bottom. then the blue cube disappears.",
            "describe",
        ),
    )
    return Sample("one_after_another", Scene(things, WIDE, "brown", "gradient"), 8, 24, questions)
