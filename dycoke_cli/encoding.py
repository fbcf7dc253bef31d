"""From frames to what is left of them: a compressed run never holds all visual tokens where its method allows it."""

from dycoke_cli.families.llava import Llava, OnProgress, Pixels
from dycoke_cli.methods.protocol import Method
from dycoke_cli.tokens import VisualTokens

# Frames whose uncompressed tokens are held at once: what passes the vision tower together, so that no frame that is
# here waits for others that are still to come.
TOGETHER = {"cpu": 4, "cuda": 16}


def encode_compressed(
    model: Llava, frames: Pixels, method: Method, on_progress: OnProgress | None = None
) -> VisualTokens:
    """Encode (frames, height, width, 3) uint8 and compress it, window by window where the method works in windows.

    The result is that of compressing the whole video at once.
    """
    total, window = len(frames), method.window
    if window is None:
        # Frames that are still to come are not asked for before the tower takes them.
        return method.compress(model.encode(frames, on_progress, method.needs_saliency))
    together, parts = -(-TOGETHER[model.language_model.device.type] // window) * window, []
    for start in range(0, total, together):

        def looked(done: int, of: int, start: int = start) -> None:
            if on_progress is not None:
                on_progress(start + done, total)

        piece = model.encode(frames[start : start + together], looked, method.needs_saliency)
        parts.append(method.compress(piece))
    return parts[0] if len(parts) == 1 else VisualTokens.joined(parts)
