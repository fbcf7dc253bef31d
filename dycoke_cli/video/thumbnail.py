"""Scale frames down to thumbnails for people to view."""

import numpy as np
import numpy.typing as npt

SIDE = 240  # pixels of the longer side, at most


def thumbnail_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Scale a frame (height, width, 3) uint8 RGB down to fit SIDE x SIDE pixels; a smaller one is unchanged."""
    from PIL import Image  # 0.1 s, and most runs need no thumbnails

    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)
