"""Decoded frames as RGB of one size, converted the way ffmpeg does it by default, and HDR toned down to SDR."""

from contextlib import suppress

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph

from dycoke_cli.video.hdr import Hdr

_UNKNOWN, _BT2020_NCL = 2, 9  # matrices, as FFmpeg counts


class RgbConverter:
    """The way from whatever a decoder gives to (height, width, 3) uint8.

    ffmpeg's own scale filter reads matrix and range from each frame, weaves interlaced fields, leaves alpha out and
    tone-maps nothing. PyAV's `reformat` splits fields, and takes three times as long.

    For HDR, ffmpeg's haldclut filter looks each scaled colour up in a table that `Hdr` computes once, and interpolates:
    30 ms for a frame of 1080p, and within a level of the formulas but for colours on the edge of the gamut. PyAV's
    wheels have neither zscale nor libplacebo, `tonemap` wants linear light, which no other filter there makes, and
    swscale converts transfer curves only from FFmpeg 8 on, without a curve for highlights. The table is of floats, as
    FFmpeg mixes up the channels of one of planar integers.
    """

    def __init__(self, width: int, height: int, hdr: Hdr | None = None) -> None:
        self._scale = f"{width}:{height}:flags=bicubic"
        self._kind: tuple[object, ...] = ()
        self._graph: Graph | None = None
        self._table = None if hdr is None else av.VideoFrame.from_ndarray(hdr.table(), format="gbrpf32le")
        self._count = 0

    def convert(self, frame: "av.VideoFrame") -> npt.NDArray[np.uint8]:
        """Converts one frame; size, format, matrix and range may change from frame to frame."""
        if self._table is not None:
            self._count += 1
            frame.pts = self._count  # haldclut keeps frame and table in step
            if int(frame.colorspace) == _UNKNOWN:
                frame.colorspace = _BT2020_NCL
        kind = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        if kind != self._kind:
            self._graph, self._source = self._build(*kind)
            self._kind = kind
        assert self._graph is not None
        self._source.push(frame)
        return np.asarray(self._graph.pull().to_ndarray(), np.uint8)

    def _build(
        self, width: int, height: int, pixels: str, matrix: int, full: int
    ) -> "tuple[Graph, av.filter.context.FilterContext]":
        graph = Graph()
        with suppress(AttributeError):  # PyAV before 16 leaves the number of threads to FFmpeg
            graph.threads = 1
        source = f"video_size={width}x{height}:pix_fmt={pixels}:time_base=1/1:colorspace={matrix}:range={full}"
        steps = [("buffer", source), ("scale", self._scale), ("format", "rgb24"), ("buffersink", None)]
        if self._table is not None:
            steps[2:2] = [("format", "gbrpf32le"), ("haldclut", None)]
        nodes = [graph.add(name, arguments) for name, arguments in steps]
        graph.link_nodes(*nodes)
        if self._table is not None:
            side = self._table.width
            table = graph.add("buffer", f"video_size={side}x{side}:pix_fmt=gbrpf32le:time_base=1/1")
            table.link_to(nodes[3], 0, 1)
        graph.configure()
        if self._table is not None:
            self._table.pts = 0
            table.push(self._table)
            table.push(None)
        return graph, nodes[0]
