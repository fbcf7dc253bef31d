"""Random scenes to train and evaluate the demo model on: coloured solids with events, before a background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

SHAPES = ("cube", "ball", "cone", "cylinder", "ring", "star")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
BACKGROUNDS = ("grey", "brown", "teal", "pink")
ASPECTS = ((16, 9), (4, 3), (1, 1), (9, 16))
MAX_THINGS = 5
# The model cannot separate two centres closer than one pooled token (1/6 of the resized frame).
TOKEN_WIDTH = 1 / 6
# Minimum time between the starts of two events, so that 16 frames contain their order.
ONSET_GAP = 0.14
FRAME = 1 / 15  # duration of one of 16 frames, as a fraction of the clip
EVENT_KINDS = ("move", "enter", "exit", "flash", "turn")
EVENT_SHARES = (0.4, 0.15, 0.15, 0.15, 0.15)


@dataclass(frozen=True)
class World:
    """Ranges to draw scenes from, which determine their difficulty."""

    diameters: tuple[float, float]  # fractions of the frame's short side
    brief: tuple[float, float]  # length of short events, in frames of 16
    noise: float  # maximum, in levels of 255
    drift: float  # maximum movement of the camera in a clip, as a fraction of the frame
    backdrops: tuple[str, ...]


TRAIN = World((0.2, 0.46), (1.0, 3.2), 8.0, 0.05, ("flat", "gradient", "floor", "cloudy", "grainy", "stripes"))
# Tiles and waves are never trained on.
TEST = replace(TRAIN, backdrops=("flat", "floor", "cloudy", "grainy", "tiles", "waves"))
EASY = World((0.28, 0.46), (2.0, 3.2), 0.0, 0.0, ("flat", "gradient", "floor"))
HARD = World((0.2, 0.28), (1.0, 1.8), 8.0, 0.05, ("grainy", "tiles", "waves"))
WORLDS = {"test": TEST, "easy": EASY, "hard": HARD}


@dataclass(frozen=True)
class Event:
    """An event of a thing from `start` to `end` (fractions of the clip); `to` is the new place or colour."""

    kind: str
    start: float
    end: float
    to: tuple[float, float] | str | None = None


@dataclass(frozen=True)
class Thing:
    """One solid; places are fractions of the frame (x to the right, y down), `diameter` of its short side."""

    shape: str
    colour: str
    diameter: float
    place: tuple[float, float]
    turn: float = 0.5
    event: Event | None = None

    def place_at(self, time: float) -> tuple[float, float]:
        """Return the centre (x, y) at a time between 0 and 1, without the camera's drift."""
        event = self.event
        if event is None or event.kind != "move" or not isinstance(event.to, tuple):
            return self.place
        way = min(1.0, max(0.0, (time - event.start) / (event.end - event.start)))
        return (
            self.place[0] + way * (event.to[0] - self.place[0]),
            self.place[1] + way * (event.to[1] - self.place[1]),
        )

    def colour_at(self, time: float) -> str:
        """Return the colour at a time."""
        event = self.event
        turned = event is not None and event.kind == "turn" and event.start <= time < event.end
        return str(event.to) if event is not None and turned else self.colour

    def visible_at(self, time: float) -> bool:
        """Return whether the thing is visible at a time."""
        event = self.event
        if event is None:
            return True
        return {"enter": time >= event.start, "exit": time < event.start}.get(
            event.kind, event.kind != "flash" or event.start <= time < event.end
        )


@dataclass(frozen=True)
class Scene:
    """A clip to render. noise: levels of 255; drift: movement (x, y) of the camera, in fractions of the frame."""

    things: tuple[Thing, ...]
    aspect: tuple[int, int]
    background: str
    backdrop: str = "flat"
    noise: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)

    def place_at(self, thing: Thing, time: float) -> tuple[float, float]:
        """Return the centre of a thing in the frame at a time, with the camera's drift."""
        x, y = thing.place_at(time)
        return x + (time - 0.5) * self.drift[0], y + (time - 0.5) * self.drift[1]


def sample_scene(rng: np.random.Generator, world: World = TRAIN) -> Scene:
    """Draw a scene in which no thing occludes another."""
    aspect = ASPECTS[rng.choice(len(ASPECTS), p=(0.55, 0.15, 0.15, 0.15))]
    things = _sample_things(rng, aspect, world)
    drifts = world.drift > 0 and rng.random() < 0.5
    drift = rng.uniform(-world.drift, world.drift, 2) if drifts else np.zeros(2)
    return Scene(
        things=things,
        aspect=aspect,
        background=str(rng.choice(BACKGROUNDS)),
        backdrop=str(rng.choice(world.backdrops)),
        noise=float(world.noise * rng.random()),
        drift=(float(drift[0]), float(drift[1])),
    )


def _sample_things(rng: np.random.Generator, aspect: tuple[int, int], world: World) -> tuple[Thing, ...]:
    count = int(rng.integers(1, MAX_THINGS + 1))
    # Scenes of few shapes or colours contain repeats; without them every count would be one.
    shapes = rng.choice(SHAPES, size=rng.choice((1, 2, 6), p=(0.12, 0.23, 0.65)), replace=False)
    colours = rng.choice(COLOURS, size=rng.choice((1, 2, 8), p=(0.08, 0.2, 0.72)), replace=False)
    kinds = sample_events(rng, count)
    while True:
        things: list[Thing] = []
        for _ in range(60 * count):
            thing = _sample_thing(rng, aspect, world, str(rng.choice(shapes)), str(rng.choice(colours)))
            happens = kinds[len(things)] if len(things) < len(kinds) else None
            if happens is not None:
                thing = replace(thing, event=_sample_event(rng, thing, *happens, aspect, world))
            if all(keep_apart(thing, other, aspect) for other in things):
                things.append(thing)
            if len(things) == count:
                return tuple(things[index] for index in rng.permutation(count))


def sample_events(rng: np.random.Generator, count: int) -> list[tuple[str, float]]:
    """Draw at most three (kind, start) of events in a clip of `count` things, at least ONSET_GAP apart."""
    number = min(count, int(rng.choice(4, p=(0.15, 0.3, 0.3, 0.25))))
    kinds = rng.choice(EVENT_KINDS, size=number, p=EVENT_SHARES)
    slack = 0.78 - ONSET_GAP * max(0, number - 1)
    onsets = 0.08 + np.sort(rng.random(number)) * slack + ONSET_GAP * np.arange(number)
    return [(str(kind), float(onset)) for kind, onset in zip(kinds, onsets, strict=True)]


def _sample_thing(rng: np.random.Generator, aspect: tuple[int, int], world: World, shape: str, colour: str) -> Thing:
    diameter = float(rng.uniform(*world.diameters))
    place = _sample_place(rng, diameter, aspect)
    return Thing(shape, colour, diameter, place, float(rng.random()))


def _sample_place(rng: np.random.Generator, diameter: float, aspect: tuple[int, int]) -> tuple[float, float]:
    half_x, half_y = half_extent(diameter, aspect)
    return float(rng.uniform(half_x, 1 - half_x)), float(rng.uniform(half_y, 1 - half_y))


def _sample_event(
    rng: np.random.Generator, thing: Thing, kind: str, start: float, aspect: tuple[int, int], world: World
) -> Event:
    brief = float(rng.uniform(*world.brief)) * FRAME
    if kind == "move":
        if rng.random() < 0.25:
            start = 0.0
        end = min(1.0, start + float(rng.uniform(0.2, 1.0)))
        return Event(kind, start, max(end, start + 0.12), _sample_goal(rng, thing, aspect))
    if kind == "turn":
        to = str(rng.choice([colour for colour in COLOURS if colour != thing.colour]))
        return Event(kind, start, start + brief if rng.random() < 0.4 else 2.0, to)
    return Event(kind, start, start + brief if kind == "flash" else 2.0)


def _sample_goal(rng: np.random.Generator, thing: Thing, aspect: tuple[int, int]) -> tuple[float, float]:
    """Draw the end of a move: far along one axis, slightly along the other, more often towards the longer side."""
    half = half_extent(thing.diameter, aspect)
    axis = int(rng.integers(2))
    low, high = half[axis], 1 - half[axis]
    here = thing.place[axis]
    forward = rng.random() < (high - here) / (high - low)
    room = high - here if forward else here - low
    goal = list(thing.place)
    goal[axis] = here + (1 if forward else -1) * max(0.25, float(rng.uniform(0.6, 1.0)) * room)
    goal[axis] = float(np.clip(goal[axis], low, high))
    aside = 1 - axis
    goal[aside] = float(np.clip(goal[aside] + rng.uniform(-0.06, 0.06), half[aside], 1 - half[aside]))
    return goal[0], goal[1]


def half_extent(diameter: float, aspect: Sequence[int]) -> tuple[float, float]:
    """Return half the width and half the height of a thing, as fractions of the frame."""
    short = min(aspect)
    return diameter * short / aspect[0] / 2, diameter * short / aspect[1] / 2


def keep_apart(one: Thing, other: Thing, aspect: tuple[int, int]) -> bool:
    """Return whether two things never overlap in a clip, visible or not."""
    one_x, one_y = half_extent(one.diameter, aspect)
    other_x, other_y = half_extent(other.diameter, aspect)
    gap_x = max(one_x + other_x, TOKEN_WIDTH)
    gap_y = max(one_y + other_y, TOKEN_WIDTH)
    moves = any(thing.event is not None and thing.event.kind == "move" for thing in (one, other))
    for time in (step / 12 for step in range(13)) if moves else (0.0,):
        (x1, y1), (x2, y2) = one.place_at(time), other.place_at(time)
        if abs(x1 - x2) < gap_x and abs(y1 - y2) < gap_y:
            return False
    return True
