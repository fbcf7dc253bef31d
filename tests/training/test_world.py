"""Rendered scenes: things do not overlap, labels match the frames, a seed always yields the same clip."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.conftest import SIXTEEN
from training.frames import degrade, render, resize_frames, token_owners
from training.labels import CLASSES, FRAME_LABELS, POSITION_LABELS, TOKEN_LABELS, clip_labels
from training.pool import render_clip
from training.questions import TEST_QUOTA
from training.scenes import COLOURS, SHAPES, WORLDS, Event, Scene, Thing, half_extent, keep_apart, sample_scene
from training.timeline import Timeline
from training.unseen_clips import unseen_clip

TWELFTHS = [step / 12 for step in range(13)]


def test_a_seed_always_gives_the_same_clip_and_questions():
    first, second = (unseen_clip(11, frames=3) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)
    assert first.questions == second.questions
    assert {question.kind for question in first.questions} <= set(TEST_QUOTA)
    assert first.pixels.dtype == np.uint8
    assert first.scene != unseen_clip(12, frames=3).scene


def test_worlds_differ_in_difficulty():
    rng = np.random.default_rng(0)
    easy, hard = ([sample_scene(rng, WORLDS[name]) for _ in range(60)] for name in ("easy", "hard"))
    largest_hard = max(thing.diameter for scene in hard for thing in scene.things)
    assert min(thing.diameter for scene in easy for thing in scene.things) >= largest_hard
    assert {scene.backdrop for scene in hard} == {"grainy", "tiles", "waves"}
    assert not any(scene.noise or any(scene.drift) for scene in easy)


def test_things_stay_in_the_frame_and_clear_of_each_other(scenes):
    for scene in scenes:
        for number, thing in enumerate(scene.things):
            half = half_extent(thing.diameter, scene.aspect)
            for time in TWELFTHS:
                assert all(h - 1e-6 <= p <= 1 - h + 1e-6 for p, h in zip(thing.place_at(time), half, strict=True))
            assert all(keep_apart(thing, other, scene.aspect) for other in scene.things[:number])


@pytest.mark.parametrize("backdrop", ["flat", "gradient", "floor", "cloudy", "grainy", "stripes", "tiles", "waves"])
def test_every_backdrop_drifts_with_the_things(backdrop):
    thing = Thing("ball", "red", 0.3, (0.5, 0.5))
    scene = Scene((thing,), (1, 1), "grey", backdrop, drift=(0.1, -0.06))
    start, end = render(scene, (0.0, 1.0), 100, np.random.default_rng(0)).frames
    # The camera moves 10 pixels horizontally and 6 vertically; the overlap of both frames is equal.
    assert np.array_equal(start[6:, :90], end[:-6, 10:])


def test_noise_differs_from_frame_to_frame():
    scene = Scene((), (1, 1), "grey", noise=6.0)
    first, second = render(scene, (0.0, 0.5), 64, np.random.default_rng(0)).frames.astype(float)
    assert 4 < (first - second).std() < 12


def test_degraded_frames_stay_close_to_the_originals(scenes):
    rng = np.random.default_rng(0)
    frames = render(scenes[0], (0.0, 1.0), 128, rng).frames
    degraded = degrade(frames, rng)
    assert degraded.shape == frames.shape
    assert degraded.dtype == np.uint8
    assert (resize_frames(degraded).float() - resize_frames(frames).float()).abs().mean() < 30


def test_a_token_belongs_to_the_thing_that_is_drawn_there(scenes):
    for scene in scenes[:40]:
        bare = Scene((), scene.aspect, scene.background, "flat")
        things = Scene(scene.things, scene.aspect, scene.background, "flat")
        empty, drawn = (
            resize_frames(render(one, (0.5,), 192, np.random.default_rng(0)).frames)[0] for one in (bare, things)
        )
        changed = (drawn.int() - empty.int()).abs().amax(0) > 40
        share = changed.float().view(6, 16, 6, 16).mean((1, 3)).flatten().numpy()
        owned = token_owners(things, 0.5) >= 0
        assert share[~owned].max(initial=0.0) < 0.45
        assert (share[owned] > 0).sum() >= 0.8 * owned.sum()


def test_labels_describe_earlier_frames():
    things = (
        Thing("ball", "red", 0.3, (0.25, 0.25), event=Event("move", 0.0, 1.0, (0.75, 0.25))),
        Thing("cube", "blue", 0.3, (0.25, 0.75), event=Event("turn", 0.5, 2.0, "green")),
        Thing("cube", "blue", 0.3, (0.75, 0.75), event=Event("enter", 0.5, 2.0)),
    )
    scene = Scene(things, (1, 1), "grey")
    times = (0.0, 0.4, 1.0)
    owners = np.stack([token_owners(scene, time) for time in times])
    labels = clip_labels(scene, Timeline.of(scene, times), owners)
    assert set(labels) == {*FRAME_LABELS, *TOKEN_LABELS, *POSITION_LABELS}
    assert all(label.shape == (3, 36) for label in labels.values())
    start, end, cube, late = 7, 10, 25, 28  # the tokens that contain the centres
    assert labels["shape"][2, end] == SHAPES.index("ball") + 1
    assert labels["way_x"][2, end] == pytest.approx(3)
    assert labels["way_y"][2, end] == pytest.approx(0)
    assert labels["before_shape"][1, start] == SHAPES.index("ball") + 1
    assert labels["colour"][2, cube] == COLOURS.index("green") + 1
    assert labels["first_colour"][2, cube] == COLOURS.index("blue") + 1
    assert labels["happened"][2, [end, cube, late]].tolist() == [3, 2, 1]
    assert labels["age"][2, [end, late]].tolist() == [0.25, 0]
    assert labels["place"][2, [end, cube, late]].tolist() == [3, 7, 9]
    assert labels["heading"][2, [end, cube]].tolist() == [2, 0]
    assert labels["thing"][2, [end, cube, late, 0]].tolist() == [0, 1, 2, -1]
    assert labels["frame"][:, 0].tolist() == [0, 1, 2]
    assert labels["count"][2, [end, cube, late]].tolist() == [1, 2, 3]
    assert labels["count_shape"][2, [end, cube, late]].tolist() == [1, 1, 2]
    assert labels["count_colour"][2, [cube, late]].tolist() == [1, 1]
    assert np.isnan(labels["count"][2, 0])
    assert np.isnan(labels["before_shape"][0]).all()


def test_labels_stay_within_their_classes(scenes):
    for scene in scenes[:100]:
        owners = np.stack([token_owners(scene, time) for time in SIXTEEN])
        labels = clip_labels(scene, Timeline.of(scene, SIXTEEN), owners)
        assert all(np.nanmax(labels[name], initial=0) < CLASSES[name] for name in CLASSES.keys() & labels.keys())
        assert (labels["centre"].sum(1) == [len(frame) for frame in _shown(scene)]).all()


def _shown(scene):
    return [[thing for thing in scene.things if thing.visible_at(time)] for time in SIXTEEN]


def test_a_clip_has_an_owner_map_for_every_frame():
    scene, pixels, owners = render_clip(8, np.linspace(0, 1, 3))
    assert pixels.shape[0] == owners.shape[0] == 3
    assert owners.shape == (3, 36)
    assert owners.max() < len(scene.things)
