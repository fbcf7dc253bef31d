"""Pack sets and arrays of numbers, and pictures, into base64 text for the HTML report, without importing torch.

Numbers are little-endian; `template/unpack.js` unpacks them.
"""

import base64
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dycoke_cli.video.frames import THUMBNAIL_SIDE as SIDE

LEAST = 64  # pixels; smaller pictures are not recognisable
AREA = 64 * SIDE * SIDE  # pixels of all pictures of a page, so that the page of a long video opens at once
QUALITY = 72
LEVELS = 65535  # the largest share, in 16 bits


def pack_set(members: Sequence[int], size: int) -> str:
    """Pack a set of integers below `size` as a bit mask, the lowest number in the lowest bit."""
    bits = np.zeros(size, dtype=bool)
    bits[np.asarray(members, dtype=np.int64)] = True
    return _base64(np.packbits(bits, bitorder="little"))


def pack_sets(sets: Sequence[Sequence[int]], size: int) -> Iterator[str]:
    """Pack consecutive sets; a set equal to the one before is packed as an empty text."""
    before: Sequence[int] | None = None
    for members in sets:
        yield "" if members == before else pack_set(members, size)
        before = members


def pack_integers(values: Sequence[int]) -> str:
    """Pack integers as int32."""
    return _base64(np.asarray(values, dtype="<i4"))


def pack_shares(rows: Sequence[npt.NDArray[np.float64] | None]) -> dict[str, Any]:
    """Pack rows of non-negative numbers, all of one length, as uint16 shares of the largest number.

    Returns `peak`, the largest; `rows`, the place of each row in `values`, -1 for None; and `values`.
    """
    present = [row for row in rows if row is not None]
    values = np.nan_to_num(np.array(present, dtype=np.float64), posinf=0.0)
    peak = float(values.max(initial=0.0))
    places = iter(range(len(present)))
    return {
        "peak": peak,
        "rows": [-1 if row is None else next(places) for row in rows],
        "values": _base64(np.rint(values / (peak or 1.0) * LEVELS).astype("<u2")),
    }


def picture_side(frames: int) -> int:
    """Return the longer side of each picture for this number of frames, in pixels."""
    return max(LEAST, min(SIDE, math.isqrt(AREA // max(frames, 1))))


def pack_picture(pixels: npt.NDArray[np.uint8], side: int) -> str:
    """Encode `pixels` (height, width, 3) RGB as a JPEG within a square of `side`, and return it as a data URI."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _base64(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
