"""Read images as the frames of a video: an image folder, one image file, or an animated WebP."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.errors import VideoError
from dycoke_cli.video.frame_index import FrameList
from dycoke_cli.video.frames import FramePixels

RATE = 1.0  # default images per second of a folder
_DEFAULT_DURATION_S = 0.1  # of an animation frame with duration 0, as in browsers
_MAX_NAMED = 3  # unreadable images named in the warning
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".gif")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "GIF")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_STILLS = (b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1")  # HEIF and AVIF, of which FFmpeg decodes only one tile
_MOTION_JPEG = {".mjpg", ".mjpeg"}  # video, though it begins like a JPEG


def list_images(folder: str) -> list[str]:
    """Return the names of the images in a folder in natural order (2 before 10), without hidden files. Raise OSError.

    Images are recognised by their file name extensions.
    """
    return sorted(files_by_extension(folder, _ENDINGS), key=_natural_key)


def files_by_extension(folder: str, endings: tuple[str, ...]) -> list[str]:
    """Return the names of the files in a folder that end in one of `endings`, without hidden ones. Raise OSError."""
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if entry.name.lower().endswith(endings) and entry.is_file()]
    return [name for name in found if not name.startswith(".")]


def is_image(path: str) -> bool:
    """Return whether a file holds images rather than a video, by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"\x89PNG") and b"acTL" in head:
        return False  # animated PNG, which FFmpeg decodes
    if head[8:12] == b"WEBP" or head[4:12] in _STILLS:
        return True
    return head.startswith(_STARTS) and Path(path).suffix.lower() not in _MOTION_JPEG


class UnreadableImagesError(Exception):
    """The images at these places of a sequence cannot be read."""

    def __init__(self, places: list[int]) -> None:
        super().__init__(places)
        self.places = places


@dataclass(frozen=True)
class SequenceImage:
    """One image of a sequence: where it is stored and when it is shown."""

    path: str
    place: int  # within the file
    second: float
    label: str  # in messages: the file name in a folder, the number within an animated file


@dataclass(frozen=True)
class ImageSequence:
    """The images of a folder or file in display order."""

    name: str  # in messages
    images: tuple[SequenceImage, ...]
    duration_s: float
    unreadable: tuple[str, ...] = ()  # labels of the images left out

    @classmethod
    def of_folder(cls, name: str, folder: str, files: list[str], rate: float) -> "ImageSequence":
        """Build the sequence of the files of a folder, `rate` images per second."""
        images = tuple(
            SequenceImage(os.path.join(folder, file), 0, place / rate, repr(file)) for place, file in enumerate(files)
        )
        return cls(name, images, len(images) / rate)

    @classmethod
    def of_file(cls, name: str, path: str, rate: float, beat: Callable[[], None]) -> "ImageSequence":
        """Build the sequence of one image, or of the images of an animated WebP at the times stored in it."""
        durations = [1 / rate]
        try:
            with _open(path) as image:
                if image.format == "WEBP" and image.n_frames > 1:
                    durations = []
                    for place in range(image.n_frames):
                        beat()
                        image.seek(place)
                        image.load()
                        durations.append(image.info.get("duration", 0) / 1000 or _DEFAULT_DURATION_S)
        except MemoryError:
            raise
        except Exception:
            durations = durations or [1 / rate]  # `decode` reports what cannot be read
        ends = np.cumsum(durations)
        starts = enumerate((ends - durations).tolist())
        images = tuple(SequenceImage(path, place, start, f"number {place + 1}") for place, start in starts)
        return cls(name, images, float(ends[-1]))

    def frame_list(self) -> FrameList:
        """Return times and size, which is that of the first image. Raise UnreadableImagesError or VideoError."""
        unreadable: list[int] = []
        for place, entry in enumerate(self.images):
            try:
                with _open(entry.path) as image:
                    width, height = image.size[::-1] if _swaps_axes(image) else image.size
            except Exception:
                unreadable.append(place)
                continue
            if unreadable:
                raise UnreadableImagesError(unreadable)
            return FrameList(
                name=self.name,
                width=width,
                height=height,
                seconds=np.array([entry.second for entry in self.images]),
                duration_s=self.duration_s,
                losses=self._losses(),
            )
        raise VideoError(f"Not one picture of {self.name} can be read.", "Save it as JPEG or PNG.", reason="no_frames")

    def decode(
        self, chosen: npt.NDArray[np.int64], size: tuple[int, int], beat: Callable[[], None]
    ) -> Iterator[FramePixels]:
        """Yield the images at `chosen` places, calling `beat` before each. Raise UnreadableImagesError at the end."""
        unreadable = []
        for place in chosen.tolist():
            beat()
            try:
                image = _load(self.images[place], size)
            except MemoryError:
                raise
            except Exception:  # Pillow's decoders share no base class of errors
                unreadable.append(place)
                continue
            yield image
        if unreadable:
            raise UnreadableImagesError(unreadable)

    def without(self, places: list[int]) -> "ImageSequence":
        """Return the sequence without unreadable images; the others keep their times."""
        removed = set(places)
        images = tuple(entry for place, entry in enumerate(self.images) if place not in removed)
        labels = tuple(self.images[place].label for place in places)
        return replace(self, images=images, unreadable=self.unreadable + labels)

    def _losses(self) -> tuple[str, ...]:
        if not self.unreadable:
            return ()
        named = ", ".join(self.unreadable[:_MAX_NAMED]) + (", ..." if len(self.unreadable) > _MAX_NAMED else "")
        total = len(self.unreadable) + len(self.images)
        return (f"{len(self.unreadable)} of {total} pictures cannot be read: {named}",)


def _natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Return a sort key that compares numbers in names by value."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], name


def _open(path: str) -> Any:
    from PIL import Image  # 0.1 s, and videos do not need it

    return Image.open(path, formats=_FORMATS)


def _swaps_axes(image: Any) -> bool:
    """Return whether the EXIF orientation swaps width and height."""
    return image.getexif().get(0x0112, 1) in (5, 6, 7, 8)


def _load(entry: SequenceImage, size: tuple[int, int]) -> FramePixels:
    """Decode one image, upright and at (width, height) `size`; JPEG is decoded at a reduced size where possible."""
    from PIL import Image, ImageOps

    with _open(entry.path) as image:
        image.seek(entry.place)
        image.draft("RGB", size[::-1] if _swaps_axes(image) else size)
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I;16", "I")):  # 16-bit grey, which `convert` clips at 255
            upright = Image.fromarray((np.asarray(upright).clip(0, 65535) // 257).astype(np.uint8))
        upright = upright.convert("RGB")
        return np.asarray(upright if upright.size == size else upright.resize(size))
