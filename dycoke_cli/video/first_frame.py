"""Decode the first frame of a video for its size, orientation and HDR, and check that it decodes."""

from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from av.error import FFmpegError

from dycoke_cli.errors import VideoError
from dycoke_cli.video.container import open_container, video_stream
from dycoke_cli.video.hdr import Hdr
from dycoke_cli.video.orientation import Orientation

_UNSPECIFIED = 2  # transfer curve, by FFmpeg's numbers
_ASPECT_TOLERANCE = 0.01  # not visible below
_MAX_ASPECT = 8  # larger pixel aspect ratios are errors in the file


@dataclass(frozen=True)
class FirstFrame:
    """Properties of a stream that only a decoded frame carries."""

    stored_width: int
    width: int  # with square pixels
    height: int
    orientation: Orientation
    hdr: Hdr | None

    @classmethod
    def read(cls, path: str, name: str, beat: Callable[[], None]) -> "FirstFrame":
        """Decode up to the first frame. Raise VideoError, with reason `no_frames` if no frame decodes."""
        with open_container(path, name) as container:
            stream = video_stream(container, name)
            container_hdr = Hdr.of(stream.codec_context)  # before decoding, from the container alone
            packets = container.demux(stream)
            error_text = "nothing"
            while True:
                beat()
                try:
                    for frame in next(packets).decode():
                        return cls.of(frame, stream, container_hdr)
                except StopIteration:
                    break
                except MemoryError:
                    raise
                except FFmpegError as error:
                    error_text = error.strerror or type(error).__name__
            codec = stream.codec_context.codec.canonical_name
        raise VideoError(
            f"{name} holds {codec} video, but not one frame of it can be decoded: PyAV says {error_text!r}",
            "It may be cut off or encrypted: copy or download it again.",
            reason="no_frames",
        )

    @classmethod
    def of(
        cls, frame: "av.VideoFrame", stream: "av.video.stream.VideoStream", container_hdr: Hdr | None
    ) -> "FirstFrame":
        """Read the properties of a decoded frame; no display matrix means upright, no aspect ratio square pixels.

        container_hdr: used where the stream itself leaves the transfer curve unspecified.
        """
        unspecified = int(stream.codec_context.color_trc) == _UNSPECIFIED
        matrices = [np.frombuffer(data, np.int32, 9) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
        ratio = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
        stretched = 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT and abs(ratio - 1) > _ASPECT_TOLERANCE
        return cls(
            stored_width=frame.width,
            width=max(1, round(frame.width * ratio)) if stretched else frame.width,
            height=frame.height,
            orientation=Orientation.of_matrix(matrices[0]) if matrices else Orientation(),
            hdr=Hdr.of(stream.codec_context) or (container_hdr if unspecified else None),
        )
