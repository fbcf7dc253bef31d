"""A frame made small: to be shown to people, not to a model."""

import numpy as np
import numpy.typing as npt

SIDE = 240  # pixels of the longer side, at most


def thumbnail_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Makes a picture (height, width, 3) uint8 RGB fit a square of SIDE pixels; a smaller one stays as it is."""
    from PIL import Image  # a tenth of a second, and most runs show no picture

    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture)
