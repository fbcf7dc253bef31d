"""The world the demo model is trained on: a few coloured solids that move before a plain background."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHAPES = ("cube", "ball", "cone", "cylinder", "ring", "star")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
BACKGROUNDS = ("grey", "brown", "teal", "pink")
BACKDROPS = ("flat", "gradient", "floor", "cloudy")
ASPECTS = ((16, 9), (4, 3), (1, 1), (9, 16))
MAX_THINGS = 5
CUT_SHARE = 0.08
# Two centres closer than one pooled token (1/6 of the squashed frame) cannot be told apart by the model.
TOKEN_WIDTH = 1 / 6


@dataclass(frozen=True)
class Thing:
    """One solid; places are fractions of the frame (x to the right, y down), `diameter` of its short side."""

    shape: str
    colour: str
    diameter: float
    start: tuple[float, float]
    end: tuple[float, float]
    motion: str = "still"
    turn: float = 0.5

    def place(self, time: float) -> tuple[float, float]:
        """Give the centre (x, y) at `time`, a fraction of the shot from 0 to 1."""
        if self.motion == "still":
            return self.start
        way = time if self.motion == "line" else math.sin(math.pi * time) ** 2
        return (
            self.start[0] + way * (self.end[0] - self.start[0]),
            self.start[1] + way * (self.end[1] - self.start[1]),
        )


@dataclass(frozen=True)
class Shot:
    """What the camera sees without a cut."""

    things: tuple[Thing, ...]
    background: str
    backdrop: str = "flat"


@dataclass(frozen=True)
class Scene:
    """A clip to be rendered: one shot, or two with a cut at `cut`, a fraction of the clip."""

    shots: tuple[Shot, ...]
    aspect: tuple[int, int]
    cut: float = 1.0

    @property
    def things(self) -> tuple[Thing, ...]:
        """Give the things of all shots."""
        return tuple(thing for shot in self.shots for thing in shot.things)

    def shot_at(self, time: float) -> tuple[Shot, float]:
        """Give the shot on screen at `time` (a fraction of the clip) and the time within that shot."""
        if len(self.shots) == 1:
            return self.shots[0], time
        if time < self.cut:
            return self.shots[0], time / self.cut
        return self.shots[1], (time - self.cut) / (1 - self.cut)


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene whose things never hide one another."""
    aspect = ASPECTS[rng.choice(len(ASPECTS), p=(0.55, 0.15, 0.15, 0.15))]
    if rng.random() < CUT_SHARE:
        shots = (_sample_shot(rng, aspect, most=2), _sample_shot(rng, aspect, most=2))
        return Scene(shots, aspect, cut=float(rng.uniform(0.3, 0.7)))
    return Scene((_sample_shot(rng, aspect, most=MAX_THINGS),), aspect)


def _sample_shot(rng: np.random.Generator, aspect: tuple[int, int], most: int) -> Shot:
    count = int(rng.integers(1, most + 1))
    still = rng.random() < 0.35
    # Few shapes or few colours give the repeats without which counting is only "one".
    shapes = rng.choice(SHAPES, size=rng.choice((1, 2, 6), p=(0.2, 0.3, 0.5)), replace=False)
    colours = rng.choice(COLOURS, size=rng.choice((1, 2, 8), p=(0.15, 0.25, 0.6)), replace=False)
    things: list[Thing] = []
    while len(things) < count:
        things = []
        for _ in range(60 * count):
            moves = not still and rng.random() < 0.5
            thing = _sample_thing(rng, aspect, str(rng.choice(shapes)), str(rng.choice(colours)), count, moves)
            if all(keep_apart(thing, other, aspect) for other in things):
                things.append(thing)
            if len(things) == count:
                break
    return Shot(tuple(things), str(rng.choice(BACKGROUNDS)), str(rng.choice(BACKDROPS)))


def _sample_thing(
    rng: np.random.Generator, aspect: tuple[int, int], shape: str, colour: str, count: int, moves: bool
) -> Thing:
    diameter = float(rng.uniform(0.24, 0.5) if count <= 2 else rng.uniform(0.22, 0.34))
    half_x, half_y = half_extent(diameter, aspect)
    low, high = np.array((half_x, half_y)), np.array((1 - half_x, 1 - half_y))
    start, end = rng.uniform(low, high), rng.uniform(low, high)
    motion = str(rng.choice(("line", "sway"))) if moves else "still"
    turn = float(rng.random())
    return Thing(shape, colour, diameter, tuple(start.tolist()), tuple(end.tolist()), motion, turn)


def half_extent(diameter: float, aspect: tuple[int, int]) -> tuple[float, float]:
    """Give half the width and height of a thing as fractions of the frame's."""
    short = min(aspect)
    return diameter * short / aspect[0] / 2, diameter * short / aspect[1] / 2


def keep_apart(one: Thing, other: Thing, aspect: tuple[int, int]) -> bool:
    """Tell whether two things stay clear of each other throughout a shot."""
    one_x, one_y = half_extent(one.diameter, aspect)
    other_x, other_y = half_extent(other.diameter, aspect)
    gap_x = max(one_x + other_x, TOKEN_WIDTH)
    gap_y = max(one_y + other_y, TOKEN_WIDTH)
    for time in (step / 12 for step in range(13)):
        (x1, y1), (x2, y2) = one.place(time), other.place(time)
        if abs(x1 - x2) < gap_x and abs(y1 - y2) < gap_y:
            return False
    return True
