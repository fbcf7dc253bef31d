"""The sample videos: what each of them shows, and questions about it with true answers."""

from __future__ import annotations

from dataclasses import dataclass

from training.questions import Question
from training.scenes import Scene, Shot, Thing

WIDE, TALL = (854, 480), (480, 854)


@dataclass(frozen=True)
class Sample:
    """A clip to be rendered: its scene, its length in seconds, its frames a second, and what to ask about it."""

    name: str
    scene: Scene
    seconds: float
    rate: int
    questions: tuple[Question, ...]


def samples() -> list[Sample]:
    """List the sample clips."""
    return [
        _cube(),
        _ball_and_cone(),
        _one_ring(),
        _counting(),
        _five_things(),
        _long(),
        _portrait(),
        _scene_change(),
    ]


def _still(shape: str, colour: str, diameter: float, x: float, y: float, turn: float = 0.5) -> Thing:
    return Thing(shape, colour, diameter, (x, y), (x, y), "still", turn)


def _one_shot(things: tuple[Thing, ...], background: str, backdrop: str, aspect: tuple[int, int] = WIDE) -> Scene:
    return Scene((Shot(things, background, backdrop),), aspect)


def _cube() -> Sample:
    things = (
        Thing("cube", "red", 0.44, (0.3, 0.62), (0.62, 0.6), "sway", 0.4),
        _still("star", "yellow", 0.34, 0.84, 0.25, turn=0.4),
    )
    questions = (
        Question("what colour is the cube?", "red", "colour"),
        Question("what color is the star?", "yellow", "colour"),
        Question("what shape is the red object?", "cube", "shape"),
        Question("is there a red cube?", "yes", "exists"),
        Question("is there a yellow cube?", "no", "exists"),
        Question("how many objects are there?", "two", "count"),
        Question("describe the video.", "a red cube and a yellow star on a grey background.", "describe"),
    )
    return Sample("cube", _one_shot(things, "grey", "floor"), 9, 25, questions)


def _ball_and_cone() -> Sample:
    things = (
        Thing("ball", "blue", 0.3, (0.15, 0.35), (0.85, 0.35), "line"),
        _still("cone", "green", 0.46, 0.5, 0.74),
    )
    questions = (
        Question("what colour is the ball?", "blue", "colour"),
        Question("what colour is the cone?", "green", "colour"),
        Question("what is the green thing?", "cone", "shape"),
        Question("is there a blue cone?", "no", "exists"),
        Question("how many objects are in the video?", "two", "count"),
    )
    return Sample("ball_and_cone", _one_shot(things, "brown", "gradient"), 6, 30, questions)


def _one_ring() -> Sample:
    things = (Thing("ring", "purple", 0.5, (0.5, 0.5), (0.3, 0.4), "sway"),)
    questions = (
        Question("what colour is the ring?", "purple", "colour"),
        Question("what shape is the purple object?", "ring", "shape"),
        Question("is there a star?", "no", "exists"),
        Question("how many things do you see?", "one", "count"),
        Question("what is in the video?", "a purple ring on a teal background.", "describe"),
    )
    return Sample("one_ring", _one_shot(things, "teal", "cloudy"), 4, 24, questions)


def _counting() -> Sample:
    things = (
        _still("cube", "orange", 0.3, 0.15, 0.3, turn=0.2),
        Thing("cube", "orange", 0.32, (0.5, 0.7), (0.5, 0.45), "sway", 0.7),
        _still("cube", "blue", 0.3, 0.82, 0.28),
        _still("ball", "white", 0.28, 0.2, 0.76),
    )
    questions = (
        Question("how many objects are there?", "four", "count"),
        Question("how many cubes are there?", "three", "count"),
        Question("how many orange cubes are there?", "two", "count"),
        Question("how many cones are there?", "zero", "count"),
        Question("what colour is the ball?", "white", "colour"),
        Question("is there a blue cube?", "yes", "exists"),
        Question("is there a white cube?", "no", "exists"),
    )
    return Sample("counting", _one_shot(things, "grey", "gradient"), 8, 25, questions)


def _five_things() -> Sample:
    things = (
        _still("cylinder", "green", 0.32, 0.12, 0.3),
        _still("star", "yellow", 0.3, 0.4, 0.26, turn=0.6),
        Thing("ball", "red", 0.3, (0.15, 0.76), (0.85, 0.76), "sway"),
        _still("ring", "blue", 0.28, 0.66, 0.3),
        _still("cone", "purple", 0.3, 0.89, 0.3),
    )
    questions = (
        Question("how many objects are there?", "five", "count"),
        Question("what colour is the cylinder?", "green", "colour"),
        Question("what shape is the purple object?", "cone", "shape"),
        Question("is there a red ball?", "yes", "exists"),
        Question("is there a red star?", "no", "exists"),
    )
    return Sample("five_things", _one_shot(things, "pink", "flat"), 10, 24, questions)


def _long() -> Sample:
    things = (
        Thing("cylinder", "black", 0.4, (0.2, 0.32), (0.2, 0.68), "sway"),
        Thing("cone", "orange", 0.36, (0.5, 0.3), (0.5, 0.7), "line"),
        Thing("cone", "white", 0.36, (0.8, 0.7), (0.8, 0.35), "sway"),
    )
    questions = (
        Question("how many cones do you see?", "two", "count"),
        Question("what colour is the cylinder?", "black", "colour"),
        Question("what shape is the orange object?", "cone", "shape"),
        Question("is there a black cone?", "no", "exists"),
        Question("how many objects are there?", "three", "count"),
    )
    return Sample("long", _one_shot(things, "teal", "floor"), 20, 25, questions)


def _portrait() -> Sample:
    things = (
        _still("star", "red", 0.5, 0.5, 0.2, turn=0.3),
        Thing("ball", "green", 0.44, (0.3, 0.75), (0.7, 0.75), "sway"),
    )
    questions = (
        Question("what colour is the star?", "red", "colour"),
        Question("what is the green object?", "ball", "shape"),
        Question("is there a green star?", "no", "exists"),
        Question("how many things are there?", "two", "count"),
    )
    return Sample("portrait", _one_shot(things, "grey", "cloudy", TALL), 7, 30, questions)


def _scene_change() -> Sample:
    before = Shot((Thing("cube", "blue", 0.42, (0.3, 0.5), (0.7, 0.5), "line", 0.3),), "brown", "gradient")
    after = Shot((_still("ring", "yellow", 0.44, 0.6, 0.5),), "teal", "flat")
    questions = (
        Question("what colour is the cube?", "blue", "colour"),
        Question("what colour is the ring?", "yellow", "colour"),
        Question("is there a yellow ring?", "yes", "exists"),
        Question("is there a yellow cube?", "no", "exists"),
        Question("what shape is the blue object?", "cube", "shape"),
    )
    return Sample("scene_change", Scene((before, after), WIDE, cut=0.5), 8, 24, questions)
