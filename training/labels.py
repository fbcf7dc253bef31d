"""What each visual token should know, read off a timeline: the targets of both stages' throw-away heads."""

from __future__ import annotations

import numpy as np

from training.frames import GRID, token_at
from training.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene
from training.timeline import BEGUN, SIGNS, Timeline

MOST_HAPPENINGS = 3  # in a clip
# Classes a label may take, the background or "nothing" being class 0; labels not named here are numbers.
CLASSES = {
    "shape": len(SHAPES) + 1,
    "colour": len(COLOURS) + 1,
    "centre": 2,
    "first_colour": len(COLOURS) + 1,
    "before_shape": len(SHAPES) + 1,
    "before_colour": len(COLOURS) + 1,
    "place": 10,
    "heading": 5,
    "happened": max(SIGNS.values()) + 1,
    "rank": MOST_HAPPENINGS + 1,
    "clock": MOST_HAPPENINGS + 1,
    "background": len(BACKGROUNDS),
    "fits": 2,
    "beside_x": 3,
    "beside_y": 3,
    "said": 3,
    "holds": 3,
    "count": 7,
    "count_shape": 7,
    "count_colour": 7,
    "count_both": 7,
}
SEEN = ("shape", "colour", "centre", "x", "y")  # what one frame tells
# Of a name in a question: whether it fits a thing, where that is, and on which side of the thing named before.
NAMES = ("fits", "named_x", "named_y", "beside_x", "beside_y")
VERDICTS = ("said", "holds")  # of a name too, but deeper: whether the answer says it, and whether it is yes
# Classes of which the first is so frequent that the others would not be learnt: rare ones count more.
UNEVEN = ("heading", "happened", "rank", "clock")
# What the middle layers of the language model should know: what to answer with, and what the past tells.
TOLD = (
    *(name for name in CLASSES if name not in (*NAMES, *VERDICTS, "centre")),
    *("way_x", "way_y", "age", "time"),
)
WHERE = ("thing", "frame", "x", "y")  # whose a token is (-1: the background's), when, and where that thing is
Labels = dict[str, np.ndarray]


def clip_labels(scene: Scene, timeline: Timeline, owners: np.ndarray) -> Labels:
    """Label the tokens of a clip, owners int8 (frames, 36): each label (frames, 36), NaN where it says nothing.

    x, y: the centre of the token's thing, in tokens from the top left corner; way_x, way_y: how far that went since it
    was first seen, if it began to move; age: frames since then, in eights; time: frames since the clip began, in
    eights; before_*: whose the place was a frame ago; happened: what has happened to its thing so far, and rank: as
    which of all the happenings; clock: how many happenings began in earlier frames; count*: how many things' centres
    come up to this token in this frame, in all and of its thing's shape, colour, or both; thing, frame: whose it is and
    when, a place just left being the thing's that went.
    """
    state = _states(scene, timeline)
    moments = np.arange(timeline.frames)[:, None]
    labels = {name: values[owners + 1, moments] for name, values in state.items()}
    owned = owners >= 0
    for name in ("x", "y", "way_x", "way_y", "age", "first_colour", "heading"):
        labels[name] = np.where(owned, labels[name], np.nan)
    for name in ("way_x", "way_y"):
        labels[name] = np.where(labels["heading"] > 0, labels[name], np.nan)
    labels["background"] = np.full(owners.shape, float(BACKGROUNDS.index(scene.background)))
    labels["time"] = np.broadcast_to(moments / 8.0, owners.shape)
    labels["centre"] = _centres(timeline, owners)
    for name in ("shape", "colour"):
        before = np.full(owners.shape, np.nan)
        changed = owned[1:] | owned[:-1]
        before[1:] = np.where(changed, labels[name][:-1], np.nan)
        labels[f"before_{name}"] = before
    labels["thing"] = with_gone(timeline, owners).astype(float)
    labels["frame"] = np.broadcast_to(moments.astype(float), owners.shape)
    return labels | _happenings(timeline, labels) | _counts(labels)


def with_gone(timeline: Timeline, owners: np.ndarray) -> np.ndarray:
    """Give the places that a thing has just left for good to that thing, for one frame: owners (frames, 36).

    Only there, and not in the last frame that shows it, is to be seen that it goes.
    """
    things = owners.copy()
    for one in timeline.occurrences:
        if one.kind == "disappears":
            left = (owners[one.frame - 1] == one.track.number) & (owners[one.frame] < 0)
            things[one.frame, left] = one.track.number
    return things


def _happenings(timeline: Timeline, labels: Labels) -> Labels:
    """Tell for each token what has happened to its thing up to its frame, as which of all, and how many did before."""
    kind = np.zeros(labels["thing"].shape)
    rank = np.where(labels["thing"] >= 0, 0.0, np.nan)
    clock = np.zeros(kind.shape)
    for number, one in enumerate(timeline.occurrences[:MOST_HAPPENINGS], start=1):
        clock += labels["frame"] > one.frame
        since = (labels["thing"] == one.track.number) & (labels["frame"] >= one.frame)
        kind[since], rank[since] = SIGNS[one.kind], number
    return {"happened": kind, "rank": rank, "clock": clock}


def _states(scene: Scene, timeline: Timeline) -> Labels:
    """Tabulate each thing's state in each frame: (things + 1, frames), row 0 being the background's."""
    size = (len(scene.things) + 1, timeline.frames)
    names = ("shape", "colour", "x", "y", "first_colour", "way_x", "way_y", "age", "place", "heading")
    state = {name: np.zeros(size) for name in names}
    for track in timeline.tracks:
        row = track.number + 1
        way = (track.places - track.places[track.first]) * GRID
        state["place"][row] = [_ninth(*place) + 1 for place in track.places.tolist()]
        state["heading"][row] = [_heading(*one) for one in way.tolist()]
        state["shape"][row] = SHAPES.index(track.shape) + 1
        state["colour"][row] = [COLOURS.index(colour) + 1 for colour in track.colours]
        state["x"][row], state["y"][row] = track.places.T * GRID
        state["first_colour"][row] = COLOURS.index(track.colour) + 1
        state["way_x"][row], state["way_y"][row] = way.T
        state["age"][row] = (np.arange(timeline.frames) - track.first) / 8
    return state


def _ninth(x: float, y: float) -> int:
    """Number the ninth of the picture that a place is in, along the rows."""
    return min(2, max(0, int(y * 3))) * 3 + min(2, max(0, int(x * 3)))


def _heading(x: float, y: float) -> int:
    """Number the side towards which a way of some length has gone so far: 0 for none, then as in `DIRECTIONS`."""
    if max(abs(x), abs(y)) < BEGUN * GRID:
        return 0
    return (2 if x > 0 else 1) if abs(x) > abs(y) else (4 if y > 0 else 3)


def _centres(timeline: Timeline, owners: np.ndarray) -> np.ndarray:
    centres = np.zeros(owners.shape)
    for track in timeline.tracks:
        for frame in np.flatnonzero(track.visible):
            centres[frame, token_at(*track.places[frame].tolist())] = 1
    return centres


def _counts(labels: Labels) -> Labels:
    """Count centres along each frame, for the tokens that hold one."""
    here = labels["centre"] == 1
    shape, colour = labels["shape"], labels["colour"]
    kinds = {"count": 0 * shape, "count_shape": shape, "count_colour": colour, "count_both": shape * 16 + colour}
    counts = {}
    for name, kind in kinds.items():
        alike = (kind[:, :, None] == kind[:, None, :]) & here[:, None, :]
        so_far = np.tril(alike).sum(-1)
        counts[name] = np.where(here, so_far, np.nan)
    return counts
