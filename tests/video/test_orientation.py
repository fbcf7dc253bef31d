"""Display matrices are parsed to one of the eight symmetries of a rectangle and applied to frames."""

import itertools

import numpy as np
import pytest

from dycoke_cli.video.orientation import Orientation

ONE = 1 << 16


def _matrix(a, b, c, d):
    return np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], dtype=np.int32)


MATRICES = [(a, 0, 0, d) for a, d in itertools.product((ONE, -ONE), repeat=2)]
MATRICES += [(0, b, c, 0) for b, c in itertools.product((ONE, -ONE), repeat=2)]


@pytest.mark.parametrize("abcd", MATRICES)
def test_each_point_lands_where_the_matrix_sends_it(abcd):
    a, b, c, d = (value // ONE for value in abcd)
    picture = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)
    orientation = Orientation.of_matrix(_matrix(*abcd))
    shown = orientation.apply(picture)
    points = {(y, x): (b * x + d * y, a * x + c * y) for y in range(2) for x in range(3)}
    top, left = (min(axis) for axis in zip(*points.values(), strict=True))
    for (y, x), (to_y, to_x) in points.items():
        assert shown[to_y - top, to_x - left, 0] == picture[y, x, 0]
    assert orientation.mirrored == (a * d - b * c < 0)
    assert orientation.right_angle


def test_another_angle_leaves_the_picture_alone():
    picture = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    orientation = Orientation.of_matrix(_matrix(46341, 46341, -46341, 46341))
    assert not orientation.right_angle
    assert np.array_equal(orientation.apply(picture), picture)
