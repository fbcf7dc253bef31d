"""Pixels of frames that nobody has decoded yet."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


class LaterPixels:
    """An array (frames, height, width, 3) uint8 that is decoded once somebody takes a part of it.

    What is known of it without that is said without it. decode: gives all of it. Raises VideoError where it cannot.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, shape: tuple[int, ...], decode: Callable[[], npt.NDArray[np.uint8]]) -> None:
        self.shape, self._decode = shape, decode
        self._pixels: npt.NDArray[np.uint8] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are held: none before they are decoded."""
        return 0 if self._pixels is None else self._pixels.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Any) -> npt.NDArray[np.uint8]:
        return self._decoded()[part]

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return iter(self._decoded())

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self._decoded(), dtype, copy=copy)

    def _decoded(self) -> npt.NDArray[np.uint8]:
        if self._pixels is None:
            self._pixels = self._decode()
        return self._pixels
