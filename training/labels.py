"""Labels of visual tokens and names, computed from a timeline: the targets of the auxiliary heads."""

from __future__ import annotations

import numpy as np

from training.frames import GRID, token_at
from training.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene
from training.timeline import BEGUN, OCCURRENCE_CLASSES, Timeline

MAX_OCCURRENCES = 3  # in a clip
# Number of classes of each label; class 0 is the background or "nothing". Labels not listed here are numbers.
CLASSES = {
    "shape": len(SHAPES) + 1,
    "colour": len(COLOURS) + 1,
    "centre": 2,
    "first_colour": len(COLOURS) + 1,
    "before_shape": len(SHAPES) + 1,
    "before_colour": len(COLOURS) + 1,
    "place": 10,
    "heading": 5,
    "happened": max(OCCURRENCE_CLASSES.values()) + 1,
    "rank": MAX_OCCURRENCES + 1,
    "clock": MAX_OCCURRENCES + 1,
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
FRAME_LABELS = ("shape", "colour", "centre", "x", "y")  # labels of a single frame
# Of a name in a question: whether it fits a thing, where that is, and on which side of the thing named before it.
NAME_LABELS = ("fits", "named_x", "named_y", "beside_x", "beside_y")
ANSWER_LABELS = (
    "said",
    "holds",
)  # of a name, in a deeper layer: whether the answer contains it, and whether the answer is yes
# Labels whose class 0 is so frequent that the others would not be learnt; their rare classes get larger weights.
UNEVEN = ("heading", "happened", "rank", "clock")
# Labels of visual tokens in the middle of the language model: answers, and what happened in earlier frames.
TOKEN_LABELS = (
    *(name for name in CLASSES if name not in (*NAME_LABELS, *ANSWER_LABELS, "centre")),
    *("way_x", "way_y", "age", "time"),
)
POSITION_LABELS = ("thing", "frame", "x", "y")  # thing of a token (-1: background), frame, and centre of the thing
Labels = dict[str, np.ndarray]


def clip_labels(scene: Scene, timeline: Timeline, owners: np.ndarray) -> Labels:
    """Label the tokens of a clip, owners int8 (frames, 36): each label (frames, 36), NaN where not defined.

    x, y: centre of the token's thing, in tokens from the top left corner. way_x, way_y: its displacement since it first
    appeared, in tokens, if it moves. age: frames since then / 8. time: frames since the clip's start / 8. before_*:
    class of the same token one frame earlier. happened: kind of the last occurrence of its thing so far, and rank: its
    number among all occurrences. clock: occurrences that began in earlier frames. count*: centres of things up to this
    token in raster order in this frame: all, and those of the same shape, colour, or both. thing, frame: as in
    `extend_disappeared`.
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
    labels["thing"] = extend_disappeared(timeline, owners).astype(float)
    labels["frame"] = np.broadcast_to(moments.astype(float), owners.shape)
    return labels | _occurrence_labels(timeline, labels) | _counts(labels)


def extend_disappeared(timeline: Timeline, owners: np.ndarray) -> np.ndarray:
    """Return owners (frames, 36) in which a disappeared thing keeps its tokens for one more frame.

    Only that frame, not the last one with the thing, contains the evidence that it disappears.
    """
    things = owners.copy()
    for one in timeline.occurrences:
        if one.kind == "disappears":
            vacated = (owners[one.frame - 1] == one.track.number) & (owners[one.frame] < 0)
            things[one.frame, vacated] = one.track.number
    return things


def _occurrence_labels(timeline: Timeline, labels: Labels) -> Labels:
    """Label the last occurrence of each token's thing, its rank among all, and the number of earlier occurrences."""
    kind = np.zeros(labels["thing"].shape)
    rank = np.where(labels["thing"] >= 0, 0.0, np.nan)
    clock = np.zeros(kind.shape)
    for number, one in enumerate(timeline.occurrences[:MAX_OCCURRENCES], start=1):
        clock += labels["frame"] > one.frame
        since = (labels["thing"] == one.track.number) & (labels["frame"] >= one.frame)
        kind[since], rank[since] = OCCURRENCE_CLASSES[one.kind], number
    return {"happened": kind, "rank": rank, "clock": clock}


def _states(scene: Scene, timeline: Timeline) -> Labels:
    """Return each thing's state in each frame, (things + 1, frames); row 0 is the background."""
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
    """Return the cell of a 3 by 3 grid that contains a point, in raster order."""
    return min(2, max(0, int(y * 3))) * 3 + min(2, max(0, int(x * 3)))


def _heading(x: float, y: float) -> int:
    """Return the class of a displacement: 0 for none, else 1 + the index in `DIRECTIONS`."""
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
    """Count centres in raster order within each frame, for the tokens that contain one."""
    here = labels["centre"] == 1
    shape, colour = labels["shape"], labels["colour"]
    kinds = {"count": 0 * shape, "count_shape": shape, "count_colour": colour, "count_both": shape * 16 + colour}
    counts = {}
    for name, kind in kinds.items():
        alike = (kind[:, :, None] == kind[:, None, :]) & here[:, None, :]
        so_far = np.tril(alike).sum(-1)
        counts[name] = np.where(here, so_far, np.nan)
    return counts
