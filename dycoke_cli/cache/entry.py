"""An encoded video as a safetensors file: visual tokens, thumbnails of the frames, and facts about both."""

import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.video.frame_buffer import FrameBuffer
from dycoke_cli.video.frames import Frames, VideoInfo

if TYPE_CHECKING:
    from torch import Tensor

    from dycoke_cli.tokens import VisualTokens

FORMAT = 1
SUFFIX = ".safetensors"
LONGEST_HEADER = 32 * 2**20  # bytes
DERIVED = ("index", "survivor", "grid")  # fields that follow from the shape of an uncompressed video


@dataclass(frozen=True)
class Entry:
    """A file of the cache with its header."""

    path: Path
    bytes: int
    used_s: float  # when it was last used, in seconds since the epoch
    head: dict[str, Any]

    @classmethod
    def at(cls, path: Path) -> "Entry | None":
        """Read the header of a file; None if it is missing, incomplete or not an entry."""
        try:
            facts = path.stat()
            if not stat.S_ISREG(facts.st_mode):
                return None
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length)) if 0 < length <= LONGEST_HEADER else {}
            head = json.loads(header.pop("__metadata__")["dycoke"])
            end = max(tensor["data_offsets"][1] for tensor in header.values())
            entry = cls(path, facts.st_size, facts.st_mtime, head)
            usable = (facts.st_size, head["format"]) == (8 + length + end, FORMAT)
            return entry if usable and entry.size and entry.frames else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the decoded frames."""
        _, height, width, _ = self.head["video"]["shape"]
        return height, width

    @property
    def frames(self) -> int:
        """Number of sampled frames."""
        return len(self.head["video"]["indices"])

    def load(self, path: str, decode: Callable[[], npt.NDArray[np.uint8]]) -> "tuple[VisualTokens, Frames] | None":
        """Read tokens and frames onto the host; None where the file is gone or damaged.

        path: the video that was asked for, which may be another file of the same content than the one that was saved.
        decode: returns the pixels of all frames; called once, when pixels are used.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from dycoke_cli.tokens import Grid, VisualTokens

        try:
            tensors = load_file(self.path)
            pictures = tensors.pop("pictures").numpy()
            grid = Grid(*self.head["grid"])
            index = torch.arange(grid.total)
            tokens = VisualTokens(index=index, survivor=index, grid=grid, **tensors)
            video = self.head["video"]
            info = VideoInfo(**{**video["info"], "path": path, "warnings": tuple(video["info"]["warnings"])})
            decoded = cache(decode)
            pixels = FrameBuffer(tuple(video["shape"]), lambda count: decoded())
            frames = Frames(pixels, tuple(video["indices"]), tuple(video["seconds"]), info, pictures)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        if len(tokens.features) != grid.total or len(pictures) != len(frames):
            return None
        return tokens, frames


def kept_tensors(tokens: "VisualTokens") -> "dict[str, Tensor]":
    """Return the tensors that an entry stores: features, and saliency and DeepStack features if there are any."""
    values = {field.name: getattr(tokens, field.name) for field in fields(tokens) if field.name not in DERIVED}
    return {name: value.contiguous() for name, value in values.items() if value is not None}


def write_entry(path: Path, tokens: "VisualTokens", frames: Frames, facts: dict[str, Any]) -> None:
    """Write an entry atomically.

    tokens: of the whole video, on the host; facts: further fields of the header. Raises OSError.
    """
    import torch
    from safetensors.torch import save_file

    tensors = kept_tensors(tokens)
    tensors["pictures"] = torch.from_numpy(np.stack([frames.thumbnail(place) for place in range(len(frames))]))
    info = {key: value for key, value in asdict(frames.info).items() if key != "path"}  # other files may be equal
    video = {
        "info": info,
        "indices": list(frames.indices),
        "seconds": list(frames.seconds),
        "shape": list(frames.pixels.shape),
    }
    head = {"format": FORMAT, "grid": list(tokens.grid), "video": video, **facts}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".half-", suffix=SUFFIX)
    os.close(handle)
    try:
        save_file(tensors, name, metadata={"dycoke": json.dumps(head)})
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if type(error).__name__ == "SafetensorError":  # raised for a full disk
            raise OSError(str(error)) from error
        raise
