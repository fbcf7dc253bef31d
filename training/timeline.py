"""The state and the occurrences of a scene at its sampled frames; questions are about these frames only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from training.question import Region
from training.scenes import Scene

FAR, NEAR = 0.15, 0.085  # displacement from which a thing has moved, and below which it has not
BEGUN = 0.03  # displacement from which a thing has begun to move
PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
DIRECTIONS = ("left", "right", "up", "down")
# Classes of occurrences. Appearing and flashing up share one: when a thing appears, its end is not yet visible.
OCCURRENCE_CLASSES = {"appears": 1, "flashes": 1, "turns": 2, "moves": 3, "disappears": 4}


@dataclass(frozen=True, eq=False)
class Track:
    """Thing `number` of a scene in every frame: colour, centre (x, y) and visibility."""

    number: int
    shape: str
    colours: tuple[str, ...]
    places: np.ndarray  # (frames, 2)
    visible: np.ndarray  # (frames,) bool

    @cached_property
    def first(self) -> int:
        """The first frame in which it is visible."""
        return int(self.visible.argmax())

    @cached_property
    def last(self) -> int:
        """The last frame in which it is visible."""
        return len(self.visible) - 1 - int(self.visible[::-1].argmax())

    def region(self, first: int | None = None, last: int | None = None) -> Region:
        """Return its region from one frame to another, by default from its first to its last visible frame."""
        return Region(self.number, self.first if first is None else first, self.last if last is None else last)

    @property
    def colour(self) -> str:
        """Its colour in its first visible frame."""
        return self.colours[self.first]

    @cached_property
    def seen_colours(self) -> frozenset[str]:
        """Its colours from its first to its last visible frame."""
        return frozenset(self.colours[self.first : self.last + 1])

    @property
    def always(self) -> bool:
        """Whether it is visible in every frame, in one colour."""
        return bool(self.visible.all()) and len(self.seen_colours) == 1

    @cached_property
    def way(self) -> np.ndarray:
        """Its displacement (x, y) from its first to its last visible frame, in fractions of the frame."""
        return self.places[self.last] - self.places[self.first]

    @property
    def still(self) -> bool:
        """Whether its displacement is below NEAR."""
        return float(np.abs(self.way).max()) < NEAR

    @property
    def direction(self) -> str | None:
        """The direction of its displacement; None below FAR or where two directions are similar."""
        x, y = self.way.tolist()
        if max(abs(x), abs(y)) < FAR or max(abs(x), abs(y)) < 2 * min(abs(x), abs(y)):
            return None
        if abs(x) > abs(y):
            return "right" if x > 0 else "left"
        return "down" if y > 0 else "up"

    def place(self, frame: int, margin: float = 0.0) -> str | None:
        """Return the name of the cell of a 3 by 3 grid that contains it; None within `margin` of another cell."""
        x, y = self.places[frame].tolist()
        if any(abs(at - border) < margin for at in (x, y) for border in (1 / 3, 2 / 3)):
            return None
        return PLACES[min(2, max(0, int(y * 3)))][min(2, max(0, int(x * 3)))]


@dataclass(frozen=True, eq=False)
class Occurrence:
    """An event of a thing as visible in the frames: its kind, its first frame, and the clause that describes it."""

    kind: str  # appears, disappears, flashes, turns or moves
    track: Track
    frame: int
    clause: str

    @property
    def region(self) -> Region:
        """The frame of an appearance or disappearance, or all frames from the start of a turn or move."""
        at_once = self.kind in ("appears", "flashes", "disappears")
        return self.track.region(self.frame, self.frame if at_once else None)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The things that are visible in at least one of `frames` frames, before one background."""

    tracks: tuple[Track, ...]
    frames: int
    background: str

    @classmethod
    def of(cls, scene: Scene, times: Sequence[float]) -> Timeline:
        """Build the timeline of a scene at given times (fractions of the clip, ascending or descending)."""
        tracks = (_track(scene, number, times) for number in range(len(scene.things)))
        return cls(tuple(track for track in tracks if track.visible.any()), len(times), scene.background)

    @cached_property
    def occurrences(self) -> tuple[Occurrence, ...]:
        """All occurrences, ordered by frame, within a frame from left to right."""
        found = [occurrence for track in self.tracks for occurrence in self._occurrences(track)]
        found.sort(key=lambda one: (one.frame, float(one.track.places[one.frame - 1, 0])))
        return tuple(found)

    @property
    def clear(self) -> bool:
        """Whether every thing either stays still or moves in one direction."""
        return all(track.still or track.direction is not None for track in self.tracks)

    @property
    def ordered(self) -> bool:
        """Whether the timeline is clear and no two occurrences are in the same frame."""
        return self.clear and len({one.frame for one in self.occurrences}) == len(self.occurrences)

    def named(self, track: Track) -> bool:
        """Whether no other thing has its shape and, at any time, its first colour."""
        return not any(
            other is not track and other.shape == track.shape and track.colour in other.seen_colours
            for other in self.tracks
        )

    def _occurrences(self, track: Track) -> Iterable[Occurrence]:
        name = f"{track.colour} {track.shape}"
        late, early = track.first > 0, track.last < self.frames - 1
        if late and early:
            yield Occurrence("flashes", track, track.first, f"{article(name)} flashes up {track.place(track.first)}")
        elif late:
            yield Occurrence("appears", track, track.first, f"{article(name)} appears {track.place(track.first)}")
        elif early:
            yield Occurrence("disappears", track, track.last + 1, f"the {name} disappears")
        colours = track.colours[track.first : track.last + 1]
        turned = next((place for place, colour in enumerate(colours) if colour != colours[0]), None)
        if turned is not None:
            back = " for a moment" if colours[-1] == colours[0] else ""
            clause = f"the {name} turns {colours[turned]}{back}"
            yield Occurrence("turns", track, track.first + turned, clause)
        if track.direction is not None:
            far = np.abs(track.places - track.places[track.first]).max(1) > BEGUN
            begun = track.first + int(far[track.first :].argmax())
            yield Occurrence("moves", track, begun, f"the {name} moves {track.direction}")


def _track(scene: Scene, number: int, times: Sequence[float]) -> Track:
    thing = scene.things[number]
    return Track(
        number=number,
        shape=thing.shape,
        colours=tuple(thing.colour_at(time) for time in times),
        places=np.array([scene.place_at(thing, time) for time in times]),
        visible=np.array([thing.visible_at(time) for time in times]),
    )


def article(name: str) -> str:
    """Prefix a name with "a" or "an"."""
    return f"an {name}" if name[0] in "aeio" else f"a {name}"
