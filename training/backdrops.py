"""Draw the backgrounds of scenes: plain, shaded or textured."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from training.scenes import Scene

BACKGROUND_RGB = {"grey": (128, 128, 128), "brown": (122, 86, 58), "teal": (64, 142, 142), "pink": (232, 168, 188)}


def draw_backdrop(scene: Scene, width: int, height: int, rng: np.random.Generator, jitter: float) -> Image.Image:
    """Draw the background of a picture of `width` by `height`, with a margin for the camera's drift on all sides."""
    margin = [math.ceil(abs(drift) / 2 * side) for drift, side in zip(scene.drift, (width, height), strict=True)]
    width, height = width + 2 * margin[0], height + 2 * margin[1]
    base = np.array(BACKGROUND_RGB[scene.background]) * rng.normal(1, 0.1 * jitter) + rng.normal(0, 4 * jitter, 3)
    light = _LIGHTS[scene.backdrop](width, height, rng)
    return Image.fromarray(np.clip(base * light[..., None], 0, 255).astype(np.uint8), "RGB")


def _flat(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    return np.ones((height, width))


def _gradient(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    return np.linspace(1.15, 0.85, height)[:, None] * np.ones((1, width))


def _floor(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    return np.where(np.arange(height)[:, None] < height * 0.6, 1.0, 0.82) * np.ones((1, width))


def _cloudy(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    return _patchwork(width, height, rng.uniform(0.88, 1.12, (5, 7)), Image.Resampling.BICUBIC)


def _grainy(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    fine = rng.uniform(0.85, 1.15, (int(rng.integers(20, 60)), int(rng.integers(20, 60))))
    return _patchwork(width, height, fine, Image.Resampling.BILINEAR)


def _stripes(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    angle, pitch = rng.uniform(0, math.pi), rng.uniform(0.06, 0.2) * min(width, height)
    along = np.arange(width)[None] * math.cos(angle) + np.arange(height)[:, None] * math.sin(angle)
    return np.where((along / pitch).astype(int) % 2 == 0, 1.06, 0.94)


def _tiles(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    side = rng.uniform(0.08, 0.2) * min(width, height)
    across, down = (np.arange(length) / side for length in (width, height))
    return np.where((across.astype(int)[None] + down.astype(int)[:, None]) % 2 == 0, 1.07, 0.93)


def _waves(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(0.04, 0.15, 2) * min(width, height)
    across, down = np.sin(np.arange(width) / pitch[0])[None], np.sin(np.arange(height) / pitch[1])[:, None]
    return 1 + 0.05 * (across + down)


def _patchwork(width: int, height: int, coarse: np.ndarray, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(coarse.astype(np.float32)).resize((width, height), how))


_LIGHTS = {
    "flat": _flat,
    "gradient": _gradient,
    "floor": _floor,
    "cloudy": _cloudy,
    "grainy": _grainy,
    "stripes": _stripes,
    "tiles": _tiles,
    "waves": _waves,
}
