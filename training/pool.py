"""A pool of rendered, degraded and resized frames on disk, generated from seeds and read by both stages."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from training.frames import GRID, IMAGE_SIZE, degrade, render, resize_frames
from training.scenes import TRAIN, Scene, World, sample_scene

SHORT_SIDES = (112, 144, 192)
DEGRADED_SHARE = 0.8


@dataclass(frozen=True)
class Recipe:
    """The clips of a pool: clip `i` is the scene of seed `first_seed + i` at `frames` evenly spaced times."""

    first_seed: int
    clips: int
    frames: int

    @property
    def times(self) -> np.ndarray:
        """Times of the frames, as fractions of the clip: (frames,)."""
        return np.linspace(0, 1, self.frames)

    def scene(self, clip: int) -> Scene:
        """Draw the scene of a clip."""
        return sample_scene(np.random.default_rng(self.first_seed + clip))


@dataclass(frozen=True)
class Pool:
    """Rendered clips with their scenes."""

    recipe: Recipe
    frames: np.ndarray  # uint8 (clips, frames, 3, 96, 96)
    owners: np.ndarray  # int8 (clips, frames, 36), an index into the scene's things, -1 for the background
    scenes: list[Scene]


def render_clip(seed: int, times: np.ndarray, world: World = TRAIN) -> tuple[Scene, np.ndarray, np.ndarray]:
    """Render the clip of a seed; return scene, frames uint8 (frames, height, width, 3), owners int8 (frames, 36)."""
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, world)
    rendering = render(scene, times.tolist(), int(rng.choice(SHORT_SIDES)), rng)
    degraded = degrade(rendering.frames, rng) if rng.random() < DEGRADED_SHARE else rendering.frames
    return scene, degraded, rendering.owners


def _resized_clip(job: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    _, frames, owners = render_clip(*job)
    return resize_frames(frames).numpy(), owners


def open_pool(folder: Path, recipe: Recipe, workers: int = 2) -> Pool:
    """Open the pool in a folder; render it first if it is incomplete or of another recipe."""
    done = folder / "pool.json"
    if not done.exists() or json.loads(done.read_text()) != asdict(recipe):
        _render_pool(folder, recipe, workers)
        done.write_text(json.dumps(asdict(recipe)))
    return Pool(
        recipe,
        np.load(folder / "frames.npy", mmap_mode="r"),
        np.load(folder / "owners.npy", mmap_mode="r"),
        [recipe.scene(clip) for clip in range(recipe.clips)],
    )


def _render_pool(folder: Path, recipe: Recipe, workers: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    size = (recipe.clips, recipe.frames)
    pixels = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, (*size, 3, IMAGE_SIZE, IMAGE_SIZE))
    owners = np.lib.format.open_memmap(folder / "owners.npy", "w+", np.int8, (*size, GRID * GRID))
    jobs = [(recipe.first_seed + clip, recipe.times) for clip in range(recipe.clips)]
    with multiprocessing.get_context("spawn").Pool(workers, torch.set_num_threads, (1,)) as processes:
        for clip, (frame, owner) in enumerate(processes.imap(_resized_clip, jobs, chunksize=16)):
            pixels[clip], owners[clip] = frame, owner
    pixels.flush()
    owners.flush()
