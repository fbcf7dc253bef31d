"""Rendered frames of a scene, the wear that a video codec leaves on them, and what each visual token should see."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from training.scenes import COLOURS, SHAPES, Scene, Shot
from training.sprites import RGB, draw_sprite

BACKGROUND_RGB = {"grey": (128, 128, 128), "brown": (122, 86, 58), "teal": (64, 142, 142), "pink": (232, 168, 188)}
IMAGE_SIZE = 96
GRID = 6


@dataclass(frozen=True)
class Rendering:
    """Frames uint8 (frames, height, width, 3) and their labels float16 (frames, 36, 5).

    The five labels of a token: shape index (0 is background), colour index, 1 where a centre lies in the token,
    and the centre's x and y offset in tokens.
    """

    frames: np.ndarray
    labels: np.ndarray


def render(scene: Scene, frames: int, short_side: int, rng: np.random.Generator) -> Rendering:
    """Render `frames` evenly spaced frames, in tints that differ a little each time."""
    images, labels = zip(*pictures(scene, frames, short_side, rng), strict=True)
    return Rendering(np.stack(images), np.stack(labels))


def pictures(
    scene: Scene, frames: int, short_side: int, rng: np.random.Generator, jitter: float = 1.0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each frame and its labels in turn; `jitter` scales the random change of tints."""
    width, height = (round(short_side * side / min(scene.aspect)) for side in scene.aspect)
    stages = {id(shot): _Stage(shot, width, height, rng, jitter) for shot in scene.shots}
    for index in range(frames):
        shot, time = scene.shot_at(index / max(frames - 1, 1))
        yield stages[id(shot)].picture(time)


class _Stage:
    """One shot, with its backdrop and sprites painted once."""

    def __init__(self, shot: Shot, width: int, height: int, rng: np.random.Generator, jitter: float):
        self.shot, self.width, self.height = shot, width, height
        self.backdrop = _backdrop(shot, width, height, rng, jitter)
        self.sprites = []
        for thing in shot.things:
            tint = np.clip(
                np.array(RGB[thing.colour]) * rng.normal(1, 0.06 * jitter, 3) + rng.normal(0, 5 * jitter, 3), 8, 252
            )
            pixels = max(8, round(thing.diameter * min(width, height)))
            self.sprites.append(draw_sprite(thing.shape, tuple(tint.tolist()), pixels, thing.turn))

    def picture(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        image, owners = self.backdrop.copy(), Image.new("L", (self.width, self.height))
        for number, (thing, sprite) in enumerate(zip(self.shot.things, self.sprites, strict=True), start=1):
            x, y = thing.place(time)
            corner = (round(x * self.width - sprite.width / 2), round(y * self.height - sprite.height / 2))
            image.paste(sprite, corner, sprite)
            owners.paste(number, corner, sprite.getchannel("A"))
        return np.asarray(image), self._label(owners, time)

    def _label(self, owners: Image.Image, time: float) -> np.ndarray:
        fine = np.asarray(owners.resize((GRID * 8, GRID * 8), Image.Resampling.NEAREST))
        cells = fine.reshape(GRID, 8, GRID, 8).transpose(0, 2, 1, 3).reshape(GRID * GRID, 64)
        label = np.zeros((GRID * GRID, 5), np.float16)
        cover = np.stack([(cells == number).sum(1) for number in range(1, len(self.shot.things) + 1)], axis=1)
        owner = np.where(cover.max(1) >= 10, cover.argmax(1), -1)
        for number, thing in enumerate(self.shot.things):
            x, y = (place * GRID for place in thing.place(time))
            centre = min(int(y), GRID - 1) * GRID + min(int(x), GRID - 1)
            owner[centre] = number
            label[centre, 2] = 1
            mine = owner == number
            column, row = np.arange(GRID * GRID) % GRID, np.arange(GRID * GRID) // GRID
            label[mine, 0] = SHAPES.index(thing.shape) + 1
            label[mine, 1] = COLOURS.index(thing.colour) + 1
            label[mine, 3] = (x - column - 0.5)[mine]
            label[mine, 4] = (y - row - 0.5)[mine]
        return label


def _backdrop(shot: Shot, width: int, height: int, rng: np.random.Generator, jitter: float) -> Image.Image:
    base = np.array(BACKGROUND_RGB[shot.background]) * rng.normal(1, 0.1 * jitter) + rng.normal(0, 4 * jitter, 3)
    light = np.ones((height, width, 1))
    if shot.backdrop == "gradient":
        light *= np.linspace(1.15, 0.85, height)[:, None, None]
    elif shot.backdrop == "floor":
        light[int(height * 0.6) :] *= 0.82
    elif shot.backdrop == "cloudy":
        coarse = Image.fromarray(rng.uniform(0.88, 1.12, (5, 7)).astype(np.float32))
        light *= np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))[..., None]
    return Image.fromarray(np.clip(base * light, 0, 255).astype(np.uint8), "RGB")


def wear(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the frames the blocks, the coarse colour and the level shift of a lossy codec; same shape and dtype."""
    gain, lift = rng.normal(1, 0.04, 3), rng.normal(0, 4)
    quality = int(rng.integers(25, 96))
    worn = np.empty_like(frames)
    for index, frame in enumerate(frames):
        buffer = io.BytesIO()
        level = np.clip(frame * gain + lift, 0, 255).astype(np.uint8)
        Image.fromarray(level).save(buffer, "JPEG", quality=quality, subsampling=2)
        worn[index] = np.asarray(Image.open(buffer))
    return worn


def squash(frames: np.ndarray, size: int = IMAGE_SIZE) -> torch.Tensor:
    """Resize uint8 (frames, height, width, 3) to uint8 (frames, 3, size, size), aspect not kept, as the engine does."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    return interpolate(pixels, size=(size, size), mode="bicubic", antialias=True)


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Map uint8 levels to float32 between -1 and 1."""
    return pixels.float() / 127.5 - 1
