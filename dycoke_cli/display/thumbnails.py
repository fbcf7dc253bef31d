"""Encode frames as small JPEG pictures for the HTML report."""

import base64
import io
import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from dycoke_cli.video.thumbnail import SIDE

LEAST = 64  # pixels; smaller pictures are not recognisable
AREA = 64 * SIDE * SIDE  # pixels of all pictures of a page, so that the page of a long video opens at once
QUALITY = 72


def thumbnail_side(frames: int) -> int:
    """Return the longer side of each picture for this number of frames, in pixels."""
    return max(LEAST, min(SIDE, math.isqrt(AREA // max(frames, 1))))


def thumbnail(pixels: npt.NDArray[np.uint8], side: int) -> str:
    """Encode `pixels` (height, width, 3) RGB as a JPEG within a square of `side`, and return it as a data URI."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
