"""How frames become what a vision tower takes: sizes, scales, and the file of a checkpoint that says them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.errors import ModelError
from dycoke_cli.families.family import Pictures, Size

Channels = tuple[float, float, float]  # red, green, blue
CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PictureSettings:
    """What a checkpoint's processor files say about frames.

    mean, std: of each channel, on values from 0 to 1. least, most: pixels that a picture, or where a family counts so a
    whole video, is resized to have; None: the family's own.
    """

    mean: Channels
    std: Channels
    least: int | None = None
    most: int | None = None

    @classmethod
    def read(cls, folder: Path, mean: Channels, std: Channels) -> "PictureSettings":
        """Read the video settings of a model's folder; `mean` and `std` where it names none.

        Numbers of pixels count only from a file about videos: those for single images are far too large for frames.
        Raises ModelError for a damaged file.
        """
        video = _video_settings(folder)
        found = video or _json(folder / "preprocessor_config.json")
        size = video.get("size") or {}
        mean, std = (tuple(found.get(key) or default) for key, default in (("image_mean", mean), ("image_std", std)))
        return cls(mean, std, size.get("shortest_edge"), size.get("longest_edge"))

    def prepare(self, frames: Pictures, size: Size, device: torch.device, crop: Size | None = None) -> Tensor:
        """Resize to `size`, cut `crop` out of the middle, scale on the device: (frames, 3, height, width) float32.

        Resizing on uint8 is within three levels of 255 of a processor's PIL bicubic, and ten times faster.
        """
        images = resized(frames, size, device)
        if crop is not None:
            top, left = (size[0] - crop[0]) // 2, (size[1] - crop[1]) // 2
            images = images[:, :, top : top + crop[0], left : left + crop[1]]
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.std))
        return (images / 255 - mean) / std


def resized(frames: Pictures, size: Size, device: torch.device) -> Tensor:
    """Resize on bytes, on the device: (frames, 3, height, width) float32 of whole numbers from 0 to 255."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2)
    if device.type != "cuda":
        return F.interpolate(images, size, mode="bicubic", antialias=True).contiguous().to(device, torch.float32)
    # Bytes cross, not floats; a frame at a time keeps the floats few.
    return torch.cat([resized_as_bytes(image.to(device), size) for image in images.split(1)])


def resized_as_bytes(images: Tensor, size: Size) -> Tensor:
    """Scale uint8 (frames, 3, height, width) to float32, as the CPU does it on bytes.

    CUDA has no kernel for bytes. Those of the CPU round and cut off after each direction, so this does too.
    """
    values = images.float()
    for step in ((images.shape[2], size[1]), size):
        values = F.interpolate(values, step, mode="bicubic", antialias=True).round().clamp(0, 255)
    return values


def _video_settings(folder: Path) -> dict[str, Any]:
    """Read what a folder says about videos, from wherever a version of transformers puts it."""
    whole = _json(folder / "processor_config.json").get("video_processor")
    return whole or _json(folder / "video_preprocessor_config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{path.name} of {str(path.parent)!r} is damaged: {error}", "Fetch the model again") from None
    return found
