"""A pool of worn, squashed frames on disk, rendered once from seeds and read by both stages."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.frames import GRID, IMAGE_SIZE, render, squash, wear
from training.scenes import Scene, sample_scene

SHORT_SIDES = (128, 160, 192)
WORN_SHARE = 0.8


@dataclass(frozen=True)
class Pool:
    """Clips of one length; clip `i` shows the scene of seed `first_seed + i`."""

    first_seed: int
    frames: np.ndarray  # uint8 (clips, frames, 3, 96, 96)
    labels: np.ndarray  # float16 (clips, frames, 36, 5)

    def scene(self, clip: int) -> Scene:
        """Draw the scene of a clip again."""
        return sample_scene(np.random.default_rng(self.first_seed + clip))


def render_clip(seed: int, frames: int) -> tuple[Scene, np.ndarray, np.ndarray]:
    """Render the clip of a seed: its scene, frames uint8 (frames, height, width, 3), labels (frames, 36, 5)."""
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng)
    rendering = render(scene, frames, int(rng.choice(SHORT_SIDES)), rng)
    worn = wear(rendering.frames, rng) if rng.random() < WORN_SHARE else rendering.frames
    return scene, worn, rendering.labels


def _squashed_clip(job: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    _, frames, labels = render_clip(*job)
    return squash(frames).numpy(), labels


def open_pool(folder: Path, first_seed: int, clips: int, frames: int, workers: int = 2) -> Pool:
    """Open the pool of a folder, rendering it first if it is not complete."""
    made_of = {"first_seed": first_seed, "clips": clips, "frames": frames}
    done = folder / "pool.json"
    if not done.exists() or json.loads(done.read_text()) != made_of:
        _render_pool(folder, first_seed, clips, frames, workers)
        done.write_text(json.dumps(made_of))
    return Pool(
        first_seed,
        np.load(folder / "frames.npy", mmap_mode="r"),
        np.load(folder / "labels.npy", mmap_mode="r"),
    )


def _render_pool(folder: Path, first_seed: int, clips: int, frames: int, workers: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shape = (clips, frames, 3, IMAGE_SIZE, IMAGE_SIZE)
    pixels = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, shape)
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.float16, (clips, frames, GRID * GRID, 5))
    jobs = [(first_seed + clip, frames) for clip in range(clips)]
    with multiprocessing.get_context("spawn").Pool(workers) as processes:
        for clip, (frame, label) in enumerate(processes.imap(_squashed_clip, jobs, chunksize=16)):
            pixels[clip], labels[clip] = frame, label
    pixels.flush()
    labels.flush()
