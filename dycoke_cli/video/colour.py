"""Convert decoded frames to RGB of one size, as ffmpeg does by default, and HDR to SDR."""

from contextlib import suppress

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph

from dycoke_cli.video.hdr import Hdr

_UNKNOWN, _BT2020_NCL = 2, 9  # colour matrices, by FFmpeg's numbers


class RgbConverter:
    """Converter from decoded frames of any pixel format to RGB (height, width, 3) uint8.

    ffmpeg's scale filter reads matrix and range from each frame, weaves interlaced fields, drops alpha and does no tone
    mapping. PyAV's `reformat` splits fields, and takes three times as long.

    For HDR, ffmpeg's haldclut filter maps each scaled colour through the table of `Hdr.table`, with interpolation:
    30 ms for a 1080p frame, within one level of the formulas except on the edge of the gamut. PyAV's wheels have
    neither zscale nor libplacebo; `tonemap` needs linear light, which no other filter of the wheels produces; swscale
    converts transfer curves only from FFmpeg 8 on, without a curve for highlights. The table holds floats because
    FFmpeg mixes up the channels of planar integers.
    """

    def __init__(self, width: int, height: int, hdr: Hdr | None = None) -> None:
        self._scale = f"{width}:{height}:flags=bicubic"
        self._format: tuple[object, ...] = ()
        self._graph: Graph | None = None
        self._table = None if hdr is None else av.VideoFrame.from_ndarray(hdr.table(), format="gbrpf32le")
        self._count = 0

    def convert(self, frame: "av.VideoFrame") -> npt.NDArray[np.uint8]:
        """Convert one frame; size, pixel format, matrix and range may change from frame to frame."""
        if self._table is not None:
            self._count += 1
            frame.pts = self._count  # haldclut synchronises frame and table by pts
            if int(frame.colorspace) == _UNKNOWN:
                frame.colorspace = _BT2020_NCL
        frame_format = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        if frame_format != self._format:
            self._graph, self._source = self._build(*frame_format)
            self._format = frame_format
        assert self._graph is not None
        self._source.push(frame)
        return np.asarray(self._graph.pull().to_ndarray(), np.uint8)

    def _build(
        self, width: int, height: int, pixel_format: str, matrix: int, colour_range: int
    ) -> "tuple[Graph, av.filter.context.FilterContext]":
        """Build the filter graph for one frame format; return it and its source node."""
        graph = Graph()
        with suppress(AttributeError):  # PyAV before 16 cannot set the number of threads
            graph.threads = 1
        source = (
            f"video_size={width}x{height}:pix_fmt={pixel_format}:time_base=1/1:colorspace={matrix}:range={colour_range}"
        )
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
