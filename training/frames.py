"""Render the frames of a scene, add JPEG artefacts, and compute which thing each visual token contains."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from training.backdrops import draw_backdrop
from training.scenes import Scene, Thing, half_extent
from training.sprites import RGB, draw_sprite

IMAGE_SIZE = 96
GRID = 6
COVERED = 0.2  # share of a token that a thing's bounding box must cover for the thing to own it


@dataclass(frozen=True)
class Rendering:
    """Frames uint8 (frames, height, width, 3) and the thing in each token.

    owners: int8 (frames, 36), an index into the scene's things, -1 for the background.
    """

    frames: np.ndarray
    owners: np.ndarray


def render(scene: Scene, times: Sequence[float], short_side: int, rng: np.random.Generator) -> Rendering:
    """Render the frames at `times` (fractions of the clip), with random tints."""
    images = np.stack(list(pictures(scene, times, short_side, rng)))
    return Rendering(images, np.stack([token_owners(scene, time) for time in times]))


def pictures(
    scene: Scene, times: Sequence[float], short_side: int, rng: np.random.Generator, jitter: float = 1.0
) -> Iterator[np.ndarray]:
    """Yield the picture at each time; `jitter` scales the random change of tints."""
    width, height = (round(short_side * side / min(scene.aspect)) for side in scene.aspect)
    backdrop = draw_backdrop(scene, width, height, rng, jitter)
    tints = [_tints(thing, rng, jitter) for thing in scene.things]
    sprites: dict[tuple[int, str], Image.Image] = {}
    for time in times:
        left = (backdrop.width - width) // 2 + round((0.5 - time) * scene.drift[0] * width)
        top = (backdrop.height - height) // 2 + round((0.5 - time) * scene.drift[1] * height)
        image = backdrop.crop((left, top, left + width, top + height))
        for number, thing in enumerate(scene.things):
            if not thing.visible_at(time):
                continue
            key = (number, thing.colour_at(time))
            if key not in sprites:
                pixels = max(8, round(thing.diameter * min(width, height)))
                sprites[key] = draw_sprite(thing.shape, tints[number][key[1]], pixels, thing.turn)
            x, y = scene.place_at(thing, time)
            sprite = sprites[key]
            image.paste(sprite, (round(x * width - sprite.width / 2), round(y * height - sprite.height / 2)), sprite)
        yield _with_noise(np.asarray(image), scene.noise, rng)


def _tints(thing: Thing, rng: np.random.Generator, jitter: float) -> dict[str, tuple[int, int, int]]:
    colours = {thing.colour, thing.colour_at(thing.event.start)} if thing.event is not None else {thing.colour}
    tints = {}
    for colour in sorted(colours):
        level = np.array(RGB[colour]) * rng.normal(1, 0.06 * jitter, 3) + rng.normal(0, 5 * jitter, 3)
        tints[colour] = tuple(np.clip(level, 8, 252).tolist())
    return tints


def _with_noise(image: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    if noise == 0:
        return image
    grain = rng.standard_normal(image.shape, dtype=np.float32) * noise
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def token_owners(scene: Scene, time: float) -> np.ndarray:
    """Return the thing in each token at a time: int8 (36,), an index into the things, -1 for the background.

    A thing owns the token that contains its centre, and tokens of which its bounding box covers more than COVERED.
    """
    cells = np.zeros((len(scene.things) + 1, GRID, GRID))
    edges = np.arange(GRID + 1) / GRID
    centres = []
    for number, thing in enumerate(scene.things, start=1):
        if not thing.visible_at(time):
            continue
        (x, y), (half_x, half_y) = scene.place_at(thing, time), half_extent(thing.diameter, scene.aspect)
        across = np.clip(np.minimum(edges[1:], x + half_x) - np.maximum(edges[:-1], x - half_x), 0, None)
        down = np.clip(np.minimum(edges[1:], y + half_y) - np.maximum(edges[:-1], y - half_y), 0, None)
        cells[number] = np.outer(down, across) * GRID * GRID
        centres.append((number, token_at(x, y)))
    cells[0] = COVERED
    owners = cells.reshape(len(cells), -1).argmax(0).astype(np.int8) - 1
    for number, cell in centres:
        owners[cell] = number - 1
    return owners


def token_at(x: float, y: float) -> int:
    """Return the index of the token that contains a point, in fractions of the frame."""
    column, row = (min(max(int(at * GRID), 0), GRID - 1) for at in (x, y))
    return row * GRID + column


def degrade(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add blocks, coarse colour and a level shift as of a lossy codec, by JPEG; same shape and dtype."""
    gain, lift = rng.normal(1, 0.04, 3), rng.normal(0, 4)
    quality = int(rng.integers(25, 96))
    table = np.clip(np.arange(256)[:, None] * gain + lift, 0, 255).astype(np.uint8)
    degraded = np.empty_like(frames)
    for index, frame in enumerate(frames):
        buffer = io.BytesIO()
        level = np.stack([table[frame[..., channel], channel] for channel in range(3)], axis=-1)
        Image.fromarray(level).save(buffer, "JPEG", quality=quality, subsampling=2)
        degraded[index] = np.asarray(Image.open(buffer))
    return degraded


def resize_frames(frames: np.ndarray, size: int = IMAGE_SIZE) -> torch.Tensor:
    """Resize uint8 (frames, height, width, 3) to uint8 (frames, 3, size, size), aspect not kept, as the engine does."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    return interpolate(pixels, size=(size, size), mode="bicubic", antialias=True)


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Map uint8 levels to float32 between -1 and 1."""
    return pixels.float() / 127.5 - 1
