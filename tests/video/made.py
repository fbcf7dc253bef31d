"""Generate small video clips, and decode clips with ffmpeg's defaults for comparison."""

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph

RATE = 12


def drawn(place, width, height):
    """Return a frame (height, width, 3) of soft moving colours with four corners of different colours."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    t = place * 0.2
    red = 110 + 60 * np.sin(6 * x / width + t)
    green = 110 + 60 * np.sin(5 * y / height - t)
    blue = 110 + 60 * np.sin(4 * (x / width + y / height) + t)
    picture = np.stack([red, green, blue], -1)
    rows, columns = height // 10, width // 14
    picture[:rows, :columns], picture[:rows, -columns:] = (220, 20, 20), (20, 200, 20)
    picture[-rows:, :columns], picture[-rows:, -columns:] = (20, 20, 220), (240, 240, 240)
    return picture.clip(0, 255).astype(np.uint8)


def numbered(place, width, height):
    """Return a `drawn` frame with its place encoded in it, which `clips.number` decodes."""
    picture = drawn(place, width, height)
    rows, columns = (np.linspace(0, side, cells + 1).astype(int) for side, cells in ((height, 10), (width, 14)))
    for row in (1, 2):
        for bit in range(12):
            cell = slice(rows[row], rows[row + 1]), slice(columns[bit + 1], columns[bit + 2])
            picture[cell] = 255 * ((place >> bit & 1) ^ (row == 2))
    return picture


def write(
    path,
    count=12,
    size=(160, 120),
    codec="libx264",
    pixels="yuv420p",
    rate=RATE,
    options=None,
    matrix=None,
    full=None,
    transfer=None,
    aspect=None,
    start=0,
    times=None,
    container=None,
    file_options=None,
    picture=drawn,
):
    """Write a video of one stream; matrix, full (1: limited range, 2: full) and transfer by FFmpeg's numbers."""
    with av.open(str(path), "w", format=container, options=file_options or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.time_base = Fraction(1, rate)
        context = stream.codec_context
        context.options = options or {}
        if matrix is not None:
            context.colorspace, context.color_range = matrix, full
        if transfer is not None:
            context.color_trc, context.color_primaries = transfer, 9
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        for place in range(count):
            frame = av.VideoFrame.from_ndarray(picture(place, *size))
            frame = frame.reformat(format=pixels, dst_colorspace=matrix, dst_color_range=full)
            frame.pts = start + (place if times is None else times[place])
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def ffmpeg_frames(path, size=None):
    """Decode all frames of the best stream with ffmpeg's defaults -> [(picture, seconds since the first)].

    size: width and height; None: the size of the first frame.
    """
    shown = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        kind = None
        for frame in container.decode(stream):
            size = size or (frame.width, frame.height)
            this = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
            if this != kind:
                graph, kind = _graph(size, *this), this
            graph.push(frame)
            shown.append((graph.pull().to_ndarray(), frame.time))
    first = shown[0][1] or 0.0
    step = 1 / float(stream.average_rate or 25)
    return [(picture, place * step if time is None else time - first) for place, (picture, time) in enumerate(shown)]


def _graph(size, width, height, pixels, matrix, full):
    graph = Graph()
    source = f"video_size={width}x{height}:pix_fmt={pixels}:time_base=1/1:colorspace={matrix}:range={full}"
    graph.link_nodes(
        graph.add("buffer", source),
        graph.add("scale", f"{size[0]}:{size[1]}:flags=bicubic"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ).configure()
    return graph


def psnr(one, other):
    """Return the peak signal-to-noise ratio of two pictures, in dB; higher is more similar."""
    assert one.shape == other.shape
    error = float(((one.astype(np.float64) - other) ** 2).mean())
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)
