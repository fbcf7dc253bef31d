"""Frames as small pictures inside a page."""

import base64
import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from dycoke_cli.video.thumbnail import SIDE

LEAST = 64  # below it nothing can be told from a picture
AREA = 64 * SIDE * SIDE  # of all pictures of a page together, so that long videos still make a page that opens at once
QUALITY = 72


def thumbnail_side(frames: int) -> int:
    """Say how long the longer side of each of so many pictures is, in pixels."""
    return max(LEAST, min(SIDE, math.isqrt(AREA // max(frames, 1))))


def thumbnail(pixels: npt.NDArray[np.uint8], side: int) -> str:
    """Make a JPEG of `pixels` (height, width, 3) RGB that fits a square of `side`, as a data URI."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
