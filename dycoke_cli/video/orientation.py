"""How a stored picture is turned and mirrored before it is shown."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Orientation:
    """The eight ways in which a rectangle fits itself: swap the axes first, then flip."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False
    right_angle: bool = True  # false: the file asks for another angle and gets none

    @classmethod
    def of_matrix(cls, matrix: npt.NDArray[np.int32]) -> "Orientation":
        """Reads a display matrix, (9,) fixed point: x' = a x + c y and y' = b x + d y, with y pointing down.

        All four numbers are needed: the angle alone takes a mirrored picture for one turned by 180 degrees.
        """
        a, b, c, d = (int(np.sign(matrix[place])) for place in (0, 1, 3, 4))
        if b == c == 0 and a and d:
            return cls(flip_rows=d < 0, flip_columns=a < 0)
        if a == d == 0 and b and c:
            return cls(transpose=True, flip_rows=b < 0, flip_columns=c < 0)
        return cls(right_angle=False)

    @property
    def mirrored(self) -> bool:
        """Whether no rotation alone can do it."""
        return self.transpose ^ self.flip_rows ^ self.flip_columns

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turns (height, width, 3) as stored into (height, width, 3) as shown, as a view."""
        if self.transpose:
            picture = picture.swapaxes(0, 1)
        if self.flip_rows:
            picture = picture[::-1]
        if self.flip_columns:
            picture = picture[:, ::-1]
        return picture
