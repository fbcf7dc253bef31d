"""From frames to what is left of them: a compressed run never holds all visual tokens where its method allows it."""

from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family, OnProgress
from dycoke_cli.tokens import VisualTokens
from dycoke_cli.video.frame_buffer import Pixels, part

# Frames whose uncompressed tokens are held at once, a multiple of what passes the vision tower together.
TOGETHER = 16


def encode_compressed(
    model: Family, frames: Pixels, method: Method, on_progress: OnProgress | None = None
) -> VisualTokens:
    """Encode (frames, height, width, 3) uint8 and compress it, window by window where the method works in windows.

    The result is that of compressing the whole video at once. Frames that are still to come are not asked for before
    the vision tower takes them.
    """
    total, window = len(frames), method.window
    if window is None:
        return method.compress(model.encode(frames, on_progress, method.needs_saliency))
    window *= model.frames_per_patch
    together, parts = -(-TOGETHER // window) * window, []
    for start in range(0, total, together):

        def looked(done: int, of: int, start: int = start) -> None:
            if on_progress is not None:
                on_progress(start + done, total)

        piece = model.encode(part(frames, start, start + together), looked, method.needs_saliency, of=total)
        parts.append(method.compress(piece))
    return parts[0] if len(parts) == 1 else VisualTokens.concatenate(parts)
