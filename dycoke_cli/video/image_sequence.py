"""Pictures in place of a video: a folder of them, a single one, or one file that holds several."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.errors import VideoError
from dycoke_cli.video.frame_list import FrameList
from dycoke_cli.video.frames import Picture

RATE = 1.0  # pictures a second in a folder, unless told otherwise
_UNTIMED_S = 0.1  # how long browsers show a picture that says 0
_NAMED = 3  # so many lost pictures are named
_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".gif"}
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "GIF")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_STILLS = (b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1")  # FFmpeg would show one tile of them
_MOTION_JPEG = {".mjpg", ".mjpeg"}  # begins like a picture


def list_pictures(folder: str) -> list[str]:
    """Names the pictures of a folder, 2 before 10, told by their endings; hidden files are left out. Raises OSError."""
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    return sorted((name for name in found if Path(name).suffix.lower() in _ENDINGS), key=_natural)


def is_picture(path: str) -> bool:
    """Whether a file holds pictures rather than a video, by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"\x89PNG") and b"acTL" in head:
        return False  # an animated one, which FFmpeg reads
    if head[8:12] == b"WEBP" or head[4:12] in _STILLS:
        return True
    return head.startswith(_STARTS) and Path(path).suffix.lower() not in _MOTION_JPEG


class ImagesLostError(Exception):
    """Pictures at these places cannot be read."""

    def __init__(self, places: list[int]) -> None:
        super().__init__(places)
        self.places = places


@dataclass(frozen=True)
class Page:
    """One picture and its moment."""

    file: str  # its path
    place: int  # within the file
    second: float
    called: str  # in messages: by its file's name in a folder, by its number where one file holds all


@dataclass(frozen=True)
class ImageSequence:
    """Pictures in the order in which they are shown."""

    name: str  # as the messages call it
    pages: tuple[Page, ...]
    duration_s: float
    lost: tuple[str, ...] = ()  # as the messages call them

    @classmethod
    def of_folder(cls, name: str, folder: str, files: list[str], rate: float) -> "ImageSequence":
        """Shows one file after another, `rate` a second."""
        pages = tuple(Page(os.path.join(folder, file), 0, place / rate, repr(file)) for place, file in enumerate(files))
        return cls(name, pages, len(pages) / rate)

    @classmethod
    def of_file(cls, name: str, path: str, rate: float, beat: Callable[[], None]) -> "ImageSequence":
        """Shows one picture, or the pictures of an animated file at their own times."""
        lasts = [1 / rate]
        try:
            with _opened(path) as image:
                if image.format == "WEBP" and image.n_frames > 1:
                    lasts = []
                    for place in range(image.n_frames):
                        beat()
                        image.seek(place)
                        image.load()
                        lasts.append(image.info.get("duration", 0) / 1000 or _UNTIMED_S)
        except MemoryError:
            raise
        except Exception:
            lasts = lasts or [1 / rate]  # what can be read of it is seen when it is shown
        ends = np.cumsum(lasts)
        begins = enumerate((ends - lasts).tolist())
        pages = tuple(Page(path, place, begin, f"number {place + 1}") for place, begin in begins)
        return cls(name, pages, float(ends[-1]))

    def frame_list(self) -> FrameList:
        """Lays the pictures out; all get the size of the first. Raises ImagesLostError, VideoError."""
        lost: list[int] = []
        for place, page in enumerate(self.pages):
            try:
                with _opened(page.file) as image:
                    width, height = image.size[::-1] if _on_its_side(image) else image.size
            except Exception:
                lost.append(place)
                continue
            if lost:
                raise ImagesLostError(lost)
            return FrameList(
                name=self.name,
                width=width,
                height=height,
                seconds=np.array([page.second for page in self.pages]),
                duration_s=self.duration_s,
                losses=self._losses(),
            )
        raise VideoError(f"Not one picture of {self.name} can be read.", "Save it as JPEG or PNG.", reason="no_frames")

    def pictures(
        self, chosen: npt.NDArray[np.int64], size: tuple[int, int], beat: Callable[[], None]
    ) -> Iterator[Picture]:
        """Yields the pictures at `chosen` places, calling `beat` before each. Raises ImagesLostError at the end."""
        lost = []
        for place in chosen.tolist():
            beat()
            try:
                picture = _load(self.pages[place], size)
            except MemoryError:
                raise
            except Exception:  # Pillow's decoders share no base class of errors
                lost.append(place)
                continue
            yield picture
        if lost:
            raise ImagesLostError(lost)

    def without(self, lost: list[int]) -> "ImageSequence":
        """Takes pictures out; the others keep their moments."""
        gone = set(lost)
        pages = tuple(page for place, page in enumerate(self.pages) if place not in gone)
        names = tuple(self.pages[place].called for place in lost)
        return replace(self, pages=pages, lost=self.lost + names)

    def _losses(self) -> tuple[str, ...]:
        if not self.lost:
            return ()
        named = ", ".join(self.lost[:_NAMED]) + (", ..." if len(self.lost) > _NAMED else "")
        return (f"{len(self.lost)} of {len(self.lost) + len(self.pages)} pictures cannot be read: {named}",)


def _natural(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Compares numbers in names as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], name


def _opened(path: str) -> Any:
    from PIL import Image  # a tenth of a second, and videos do not need it

    return Image.open(path, formats=_FORMATS)


def _on_its_side(image: Any) -> bool:
    """Whether a camera says that width and height have to be exchanged."""
    return image.getexif().get(0x0112, 1) in (5, 6, 7, 8)


def _load(page: Page, size: tuple[int, int]) -> Picture:
    """Decodes one picture, upright and at a size, at a reduced size where its format allows."""
    from PIL import Image, ImageOps

    with _opened(page.file) as image:
        image.seek(page.place)
        image.draft("RGB", size[::-1] if _on_its_side(image) else size)
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I;16", "I")):  # 16 bits of grey, of which `convert` would cut off all above 255
            upright = Image.fromarray((np.asarray(upright).clip(0, 65535) // 257).astype(np.uint8))
        upright = upright.convert("RGB")
        return np.asarray(upright if upright.size == size else upright.resize(size))
