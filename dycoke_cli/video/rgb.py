"""Decoded frames as RGB of one size, converted the way ffmpeg does it by default."""

from contextlib import suppress

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph


class Rgb:
    """The way from whatever a decoder gives to (height, width, 3) uint8.

    ffmpeg's own scale filter reads matrix and range from each frame, weaves interlaced fields, leaves alpha out and
    tone-maps nothing. PyAV's `reformat` splits fields, and takes three times as long.
    """

    def __init__(self, width: int, height: int) -> None:
        self._scale = f"{width}:{height}:flags=bicubic"
        self._kind: tuple[object, ...] = ()
        self._graph: Graph | None = None

    def convert(self, frame: "av.VideoFrame") -> npt.NDArray[np.uint8]:
        """Converts one frame; size, format and colours may change from frame to frame."""
        kind = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        if kind != self._kind:
            self._graph, self._kind = self._build(*kind), kind
        assert self._graph is not None
        self._graph.push(frame)
        return np.asarray(self._graph.pull().to_ndarray(), np.uint8)

    def _build(self, width: int, height: int, pixels: str, matrix: int, full: int) -> Graph:
        graph = Graph()
        with suppress(AttributeError):  # PyAV before 16 leaves the number of threads to FFmpeg
            graph.threads = 1
        source = f"video_size={width}x{height}:pix_fmt={pixels}:time_base=1/1:colorspace={matrix}:range={full}"
        steps = [("buffer", source), ("scale", self._scale), ("format", "rgb24"), ("buffersink", None)]
        graph.link_nodes(*(graph.add(name, arguments) for name, arguments in steps)).configure()
        return graph
