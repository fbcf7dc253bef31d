"""From frames to what is left of them: a compressed run never holds all visual tokens where its method allows it."""

import numpy as np
import numpy.typing as npt

from dycoke_cli.families.llava import Llava, OnProgress
from dycoke_cli.methods.protocol import Method
from dycoke_cli.tokens import VisualTokens

# Frames whose uncompressed tokens are held at once, a multiple of what passes the vision tower together.
TOGETHER = 16


def encode_compressed(
    model: Llava, frames: npt.NDArray[np.uint8], method: Method, on_progress: OnProgress | None = None
) -> VisualTokens:
    """Encode (frames, height, width, 3) uint8 and compress it, window by window where the method works in windows.

    The result is that of compressing the whole video at once.
    """
    total, window = len(frames), method.window
    together = total if window is None else -(-TOGETHER // window) * window
    parts = []
    for start in range(0, total, together):

        def looked(done: int, of: int, start: int = start) -> None:
            if on_progress is not None:
                on_progress(start + done, total)

        piece = model.encode(frames[start : start + together], looked, method.needs_saliency)
        parts.append(method.compress(piece))
    return parts[0] if len(parts) == 1 else VisualTokens.joined(parts)
