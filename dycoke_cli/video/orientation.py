"""Rotation and mirroring of stored frames for display, read from a display matrix."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Orientation:
    """One of the eight symmetries of a rectangle: the axes are swapped first, then flipped."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False
    right_angle: bool = True  # false: the file asks for another angle, which is not applied

    @classmethod
    def of_matrix(cls, matrix: npt.NDArray[np.int32]) -> "Orientation":
        """Parse a display matrix, (9,) fixed point: x' = a x + c y and y' = b x + d y, with y pointing down.

        All four numbers are needed: the angle alone cannot distinguish mirroring from a rotation by 180 degrees.
        """
        a, b, c, d = (int(np.sign(matrix[place])) for place in (0, 1, 3, 4))
        if b == c == 0 and a and d:
            return cls(flip_rows=d < 0, flip_columns=a < 0)
        if a == d == 0 and b and c:
            return cls(transpose=True, flip_rows=b < 0, flip_columns=c < 0)
        return cls(right_angle=False)

    @property
    def mirrored(self) -> bool:
        """Whether it includes a reflection, which no rotation replaces."""
        return self.transpose ^ self.flip_rows ^ self.flip_columns

    def apply(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return a stored frame (height, width, 3) as it is displayed, (height, width, 3), as a view."""
        if self.transpose:
            frame = frame.swapaxes(0, 1)
        if self.flip_rows:
            frame = frame[::-1]
        if self.flip_columns:
            frame = frame[:, ::-1]
        return frame
