"""Access to the clips of tests/media and their ground truth, and commands for modified worker processes."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

MEDIA = Path(__file__).parent.parent / "media"
TRUTH = np.load(MEDIA / "truth.npz")


def clip(name: str) -> Path:
    """Return the path of a clip, which must exist."""
    path = MEDIA / name
    assert path.is_file()
    return path


def seconds(name: str) -> npt.NDArray[np.float64]:
    """Return the time of each frame in seconds, (frames,)."""
    return TRUTH[f"{name}/seconds"]


def number(picture: npt.NDArray[np.uint8]) -> int | None:
    """Decode the number drawn into a frame: 12 bits in row 1 of a grid of 14 x 10 cells, their complement in row 2."""
    height, width = picture.shape[0] / 10, picture.shape[1] / 14
    grey = picture[: int(3 * height) + 1].mean(axis=2, dtype=np.float32)

    def cell(row: int, column: int) -> float:
        y, x = (row + 0.5) * height, (column + 0.5) * width
        rows = slice(int(y - height / 4), int(y + height / 4) + 1)
        return float(grey[rows, int(x - width / 4) : int(x + width / 4) + 1].mean())

    contrast = np.array([cell(1, bit + 1) - cell(2, bit + 1) for bit in range(12)])
    if np.abs(contrast).min() < 60:
        return None
    return int(((contrast > 0) << np.arange(12)).sum())


def corners(picture: npt.NDArray[np.uint8]) -> str:
    """Return the colours of the four corners, in reading order: r, g, b or w."""
    height, width = picture.shape[0] // 20, picture.shape[1] // 28
    found = ""
    for y in (height, -height - 1):
        for x in (width, -width - 1):
            colour = picture[y, x].astype(int)
            found += "w" if colour.min() > 150 else "rgb"[colour.argmax()]
    return found


def looks_right(name: str, picture: npt.NDArray[np.uint8], second: float) -> bool:
    """Return whether a picture is the frame of the clip at a time, by its number or its thumbnail."""
    place = int(np.abs(seconds(name) - second).argmin())
    if f"{name}/number" in TRUTH:
        upright = np.rot90(picture, -1) if name == "rot90.mp4" else picture
        return number(upright) == TRUTH[f"{name}/number"][place]
    small = Image.fromarray(picture).convert("L").resize((48, 27), Image.Resampling.BOX)
    errors = ((TRUTH[f"{name}/thumb"].astype(float) - np.asarray(small)) ** 2).mean(axis=(1, 2))
    return bool(errors[place] < 200 or errors.argmin() == place)


def worker_after(prelude: str) -> Callable[[], list[str]]:
    """Return a `worker_command` that runs a piece of code before the worker, to patch it."""
    code = prelude + "\nfrom dycoke_cli.video.worker import main\nmain()"
    return lambda: [sys.executable, "-P", "-W", "ignore", "-c", code]
