"""One encoded video as a safetensors file: visual tokens, small pictures of the frames, what is known about them."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.video.frames import Frames, Picture, VideoInfo

if TYPE_CHECKING:
    from torch import Tensor

    from dycoke_cli.tokens import VisualTokens

FORMAT = 1
SUFFIX = ".safetensors"
SIDE = 240  # pixels of a small picture's longer side
LONGEST_HEADER = 32 * 2**20  # bytes
PLACES = ("index", "survivor", "grid")  # of a whole video these follow from its shape


class SmallPictures:
    """Stands for the pixels of frames that were not decoded: their shape, and one small picture of each to show.

    Nothing can be encoded from it: a slice, which is what that takes, is refused.
    """

    def __init__(self, pictures: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> None:
        self._pictures, self.shape = pictures, shape

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: int) -> Picture:
        if not isinstance(place, int):
            raise TypeError("these frames were not decoded: their features came from the cache")
        return self._pictures[place]

    def __iter__(self) -> Iterator[Picture]:
        return iter(self._pictures)


@dataclass(frozen=True)
class Entry:
    """A file of the cache, and the head of it."""

    path: Path
    bytes: int
    used_s: float  # when it was last used, as time.time
    head: dict[str, Any]

    @classmethod
    def at(cls, path: Path) -> "Entry | None":
        """Read the head of a file; None where it is missing, torn or none of ours."""
        try:
            facts = path.stat()
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length)) if 0 < length <= LONGEST_HEADER else {}
            head = json.loads(header.pop("__metadata__")["dycoke"])
            end = max(tensor["data_offsets"][1] for tensor in header.values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if facts.st_size != 8 + length + end or head.get("format") != FORMAT:
            return None
        return cls(path, facts.st_size, facts.st_mtime, head)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames, as they were decoded."""
        _, height, width, _ = self.head["video"]["shape"]
        return height, width

    @property
    def frames(self) -> int:
        """How many frames the video was sampled at."""
        return len(self.head["video"]["indices"])

    def load(self) -> "tuple[VisualTokens, Frames] | None":
        """Read all of it, onto the host; None where it has gone or does not hold what it should."""
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
            info = VideoInfo(**{**video["info"], "warnings": tuple(video["info"]["warnings"])})
            shape = tuple(video["shape"])
            frames = Frames(SmallPictures(pictures, shape), tuple(video["indices"]), tuple(video["seconds"]), info)
        except (OSError, SafetensorError, KeyError, TypeError):
            return None
        if len(tokens.features) != grid.total or len(pictures) != len(frames):
            return None
        return tokens, frames


def kept_tensors(tokens: "VisualTokens") -> "dict[str, Tensor]":
    """Give what a file holds of the tokens of a whole video: features, and saliency and DeepStack features if any."""
    values = {field.name: getattr(tokens, field.name) for field in fields(tokens) if field.name not in PLACES}
    return {name: value.contiguous() for name, value in values.items() if value is not None}


def write_entry(path: Path, tokens: "VisualTokens", frames: Frames, facts: dict[str, Any]) -> None:
    """Write an entry completely or not at all.

    tokens: of the whole video, on the host; facts: what else the head shall hold. Raises OSError.
    """
    import torch
    from safetensors.torch import save_file

    tensors = kept_tensors(tokens)
    tensors["pictures"] = torch.from_numpy(np.stack([_small(frames.pixels[place]) for place in range(len(frames))]))
    video = {
        "info": asdict(frames.info),
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
        if type(error).__name__ == "SafetensorError":  # how it reports a full disk
            raise OSError(str(error)) from error
        raise


def _small(pixels: Picture) -> Picture:
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture)
