"""Inputs of a run: frames of noise, frames of a video file, or random visual tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dycoke_cli.bench.case import Case
from dycoke_cli.config.settings import Settings
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.frame_request import start_decoding
from dycoke_cli.tokens import VisualTokens
from dycoke_cli.video.reader import VideoReader


class Pictures(NamedTuple):
    """Frames (frames, height, width, 3) uint8 RGB, and the decoding time in seconds, None for noise."""

    pixels: npt.NDArray[np.uint8]
    decode_s: float | None


class Noise:
    """Frames of noise in the input size of the vision tower, made once for each count."""

    def __init__(self, model: Llava) -> None:
        self.side = model.model.config.vision_config.image_size
        self.made: dict[int, npt.NDArray[np.uint8]] = {}

    def frames(self, count: int) -> Pictures:
        """Return the same noise for the same count."""
        if count not in self.made:
            shape = (count, self.side, self.side, 3)
            self.made[count] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        return Pictures(self.made[count], None)


class VideoFile:
    """Frames of a file, decoded again for each run."""

    def __init__(self, path: str, settings: Settings, reader: VideoReader) -> None:
        self.path, self.settings, self.reader = path, settings, reader

    def frames(self, count: int) -> Pictures:
        """Decode `count` frames. Raises VideoError."""
        settings = self.settings.model_copy(update={"frames": count, "fps": None})
        pending = start_decoding(self.reader, self.path, settings, count)
        return Pictures(pending.result().pixels, pending.seconds)


Source = Noise | VideoFile


@contextmanager
def source_of(video: str | None, model: Llava, settings: Settings) -> Iterator[Source]:
    """Open the video file, or make noise if `video` is None."""
    if video is None:
        yield Noise(model)
        return
    with VideoReader(settings.decoder, settings.video_timeout) as reader:
        yield VideoFile(video, settings, reader)


def synthetic_rows(model: Llava, case: Case) -> list[VisualTokens]:
    """Return random visual tokens for each prompt of the batch, with the real grid and hidden size."""
    language_model = model.language_model
    device, dtype = language_model.device, language_model.dtype
    grid = model.grid(case.frames)
    hidden = language_model.body.config.hidden_size
    draw = torch.Generator(device).manual_seed(0)
    return [
        VisualTokens.uncompressed(
            torch.randn(*grid, hidden, generator=draw, device=device).to(dtype),
            torch.rand(*grid, generator=draw, device=device),
        )
        for _ in range(case.batch)
    ]
