"""Sets and series of numbers as short text, for a page that has to hold many of them.

Bytes are little-endian and written in base64; `template/unpack.js` reads them. Knows no torch.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LEVELS = 65535  # of a share, in 16 bits


def pack_set(members: Sequence[int], size: int) -> str:
    """Write a set of whole numbers below `size` as one bit each, the lowest number in the lowest bit."""
    bits = np.zeros(size, dtype=bool)
    bits[np.asarray(members, dtype=np.int64)] = True
    return _text(np.packbits(bits, bitorder="little"))


def pack_sets(sets: Sequence[Sequence[int]], size: int) -> Iterator[str]:
    """Write sets that follow each other; one that equals the set before it is an empty text."""
    before: Sequence[int] | None = None
    for members in sets:
        yield "" if members == before else pack_set(members, size)
        before = members


def pack_integers(values: Sequence[int]) -> str:
    """Write whole numbers in 32 bits each, with their sign."""
    return _text(np.asarray(values, dtype="<i4"))


def pack_shares(rows: Sequence[npt.NDArray[np.float64] | None]) -> dict[str, Any]:
    """Write rows of numbers from 0 up, all of one length, as shares of the highest in 16 bits.

    Returns `peak`, the highest; `rows`, for each its place among those that there are, or -1; and their `values`.
    """
    there = [row for row in rows if row is not None]
    values = np.nan_to_num(np.array(there, dtype=np.float64), posinf=0.0)
    peak = float(values.max(initial=0.0))
    places = iter(range(len(there)))
    return {
        "peak": peak,
        "rows": [-1 if row is None else next(places) for row in rows],
        "values": _text(np.rint(values / (peak or 1.0) * LEVELS).astype("<u2")),
    }


def _text(values: npt.NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
