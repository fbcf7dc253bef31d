"""Draw solids from formulas for outline and shading, equally sharp at every size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

RGB = {
    "red": (206, 34, 32),
    "green": (38, 158, 58),
    "blue": (34, 74, 210),
    "yellow": (240, 214, 36),
    "purple": (130, 44, 164),
    "orange": (244, 126, 22),
    "white": (244, 244, 244),
    "black": (26, 26, 28),
}
LIGHT = np.array((-0.45, -0.6, 0.66))
OVERSAMPLING = 3

Outline = tuple[np.ndarray, np.ndarray]


def draw_sprite(shape: str, rgb: tuple[int, int, int], pixels: int, turn: float) -> Image.Image:
    """Draw a solid as an RGBA image of `pixels` by `pixels`; `turn` (0 to 1) rotates cubes and stars."""
    side = pixels * OVERSAMPLING
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    inside, shade = _OUTLINES[shape](x, y, turn)
    gloss = np.clip(shade - 0.95, 0, None)[..., None] * 150
    colour = np.asarray(rgb, dtype=np.float32) * np.clip(shade, 0.35, 1.12)[..., None] + gloss
    rgba = np.concatenate((np.clip(colour, 0, 255), inside[..., None] * 255.0), axis=-1).astype(np.uint8)
    return Image.fromarray(rgba, "RGBA").reduce(OVERSAMPLING)


def _lambert(normal_x: np.ndarray, normal_y: np.ndarray) -> np.ndarray:
    normal_z = np.sqrt(np.clip(1 - normal_x**2 - normal_y**2, 0, 1))
    return 0.6 + 0.55 * (LIGHT[0] * normal_x + LIGHT[1] * normal_y + LIGHT[2] * normal_z)


def _ball(x: np.ndarray, y: np.ndarray, turn: float) -> Outline:
    return x**2 + y**2 <= 1, _lambert(x, y)


def _ring(x: np.ndarray, y: np.ndarray, turn: float) -> Outline:
    radius = np.maximum(np.hypot(x, y), 1e-6)
    across = np.clip((radius - 0.77) / 0.23, -1, 1)
    return np.abs(radius - 0.77) <= 0.23, _lambert(across * x / radius, across * y / radius)


def _cone(x: np.ndarray, y: np.ndarray, turn: float) -> Outline:
    half = 0.88 * (y + 1) / 1.75
    base = (x / 0.88) ** 2 + ((y - 0.75) / 0.24) ** 2 <= 1
    inside = base | ((np.abs(x) <= half) & (y <= 0.75))
    return inside, _lambert(np.clip(x / np.maximum(half, 0.05), -1, 1) * 0.95, np.zeros_like(y))


def _cylinder(x: np.ndarray, y: np.ndarray, turn: float) -> Outline:
    top = (x / 0.66) ** 2 + ((y + 0.76) / 0.23) ** 2 <= 1
    bottom = (x / 0.66) ** 2 + ((y - 0.76) / 0.23) ** 2 <= 1
    body = (np.abs(x) <= 0.66) & (np.abs(y) <= 0.76)
    side = _lambert(np.clip(x / 0.66, -1, 1) * 0.95, np.zeros_like(y)) * 0.95
    return top | bottom | body, np.where(top, 1.1, side)


def _star(x: np.ndarray, y: np.ndarray, turn: float) -> Outline:
    fifth = 2 * math.pi / 5
    angle = np.arctan2(y, x) + math.pi / 2 + (turn - 0.5) * 0.5
    fold = (angle + fifth / 2) % fifth - fifth / 2
    radius = np.hypot(x, y)
    notch_x, notch_y = 0.45 * math.cos(fifth / 2), 0.45 * math.sin(fifth / 2)
    along, beside = radius * np.cos(fold), radius * np.abs(np.sin(fold))
    # Inside means left of the straight edge that runs from the tip (1, 0) to the notch.
    inside = (1 - along) * notch_y >= beside * (1 - notch_x)
    return inside, np.where(fold > 0, 0.8, 1.02)


def _cube(x: np.ndarray, y: np.ndarray, turn: float) -> Outline:
    yaw, tilt = math.radians(25 + 40 * turn), math.radians(30)
    size = 0.6
    right = np.array((math.cos(yaw), math.sin(yaw) * math.sin(tilt))) * size
    left = np.array((-math.sin(yaw), math.cos(yaw) * math.sin(tilt))) * size
    up = np.array((0.0, -math.cos(tilt))) * size
    inside, shade = np.zeros(x.shape, bool), np.ones(x.shape, np.float32)
    for centre, first, second, light in ((up, right, left, 1.1), (right, left, up, 0.62), (left, right, up, 0.86)):
        determinant = first[0] * second[1] - first[1] * second[0]
        from_x, from_y = x - centre[0], y - centre[1]
        along_first = (from_x * second[1] - from_y * second[0]) / determinant
        along_second = (first[0] * from_y - first[1] * from_x) / determinant
        face = (np.abs(along_first) <= 1) & (np.abs(along_second) <= 1)
        inside |= face
        shade[face] = light
    return inside, shade


_OUTLINES: dict[str, Callable[[np.ndarray, np.ndarray, float], Outline]] = {
    "cube": _cube,
    "ball": _ball,
    "cone": _cone,
    "cylinder": _cylinder,
    "ring": _ring,
    "star": _star,
}
