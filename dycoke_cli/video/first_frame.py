"""The first frame of a video: how large it is, how it is turned, and whether there is one at all."""

from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from av.error import FFmpegError

from dycoke_cli.errors import VideoError
from dycoke_cli.video.container import open_container, video_stream
from dycoke_cli.video.hdr import Hdr
from dycoke_cli.video.orientation import Orientation

_NARROWEST = 32  # pixels; decord gives pictures of another shape below
_UNSPECIFIED = 2  # of FFmpeg's transfer curves
_SQUARE = 0.01  # nobody sees less
_MAX_STRETCH = 8  # a pixel said to be more than this from square is a mistake in the file


@dataclass(frozen=True)
class FirstFrame:
    """What only a decoded frame tells."""

    stored_width: int
    width: int  # with square pixels
    height: int
    orientation: Orientation
    hdr: Hdr | None

    @classmethod
    def read(cls, path: str, name: str, beat: Callable[[], None]) -> "FirstFrame":
        """Decodes up to the first frame. Raises VideoError, with reason `no_frames` when there is none."""
        with open_container(path, name) as container:
            stream = video_stream(container, name)
            told = Hdr.of(stream.codec_context)  # by the container alone
            packets = container.demux(stream)
            said = "nothing"
            while True:
                beat()
                try:
                    for frame in next(packets).decode():
                        return cls.of(frame, stream, told)
                except StopIteration:
                    break
                except MemoryError:
                    raise
                except FFmpegError as error:
                    said = error.strerror or type(error).__name__
            codec = stream.codec_context.codec.canonical_name
        raise VideoError(
            f"{name} holds {codec} video, but not one frame of it can be decoded: PyAV says {said!r}",
            "It may be cut off or encrypted: copy or download it again.",
            reason="no_frames",
        )

    @classmethod
    def of(cls, frame: "av.VideoFrame", stream: "av.video.stream.VideoStream", told: Hdr | None) -> "FirstFrame":
        """Reads what a frame carries; a missing matrix means upright, a missing ratio means square pixels.

        told: what the container says of the light, which counts where the stream itself says nothing.
        """
        silent = int(stream.codec_context.color_trc) == _UNSPECIFIED
        matrices = [np.frombuffer(data, np.int32, 9) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
        ratio = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
        sensible = 1 / _MAX_STRETCH <= ratio <= _MAX_STRETCH and abs(ratio - 1) > _SQUARE
        return cls(
            stored_width=frame.width,
            width=max(1, round(frame.width * ratio)) if sensible else frame.width,
            height=frame.height,
            orientation=Orientation.of_matrix(matrices[0]) if matrices else Orientation(),
            hdr=Hdr.of(stream.codec_context) or (told if silent else None),
        )

    @property
    def doubt(self) -> str | None:
        """Why decord would not show it right, or None."""
        if self.hdr is not None:
            return "HDR"
        if self.stored_width < _NARROWEST:
            return f"narrower than {_NARROWEST} pixels"
        if self.width != self.stored_width:
            return "pixels that are not square"
        return "mirrored or slanted picture" if self.orientation.mirrored or not self.orientation.right_angle else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to tell about it, one line each."""
        return () if self.orientation.right_angle else ("it asks to be turned by an odd angle and is shown unturned",)
