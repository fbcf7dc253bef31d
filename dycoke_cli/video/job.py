"""One video, read in the child: which decoder, which frames, how large, and what is told about them."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video import decord_reader, pyav_reader
from dycoke_cli.video.canvas import Canvas
from dycoke_cli.video.census import count_frames
from dycoke_cli.video.decord_reader import DecordRefutedError
from dycoke_cli.video.frames import VideoInfo
from dycoke_cli.video.index import Index
from dycoke_cli.video.probe import read_index
from dycoke_cli.video.pyav_reader import IndexRefutedError, Picture
from dycoke_cli.video.reporter import Reporter
from dycoke_cli.video.sampling import Sampling

Reader = Callable[[Index, npt.NDArray[np.int64], tuple[int, int], Callable[[], None]], Iterator[Picture]]


class Job:
    """One request on its way to frames."""

    def __init__(self, request: dict[str, Any], canvas: Canvas, reporter: Reporter) -> None:
        self.request, self.canvas, self.reporter = request, canvas, reporter
        self.sampling = Sampling(**request["sampling"])

    def run(self) -> dict[str, Any]:
        """Tries decord where it is right, then PyAV by its index, then PyAV by counting -> the header of the frames."""
        index = read_index(self.request["path"], self.request["name"], self.reporter.beat)
        doubt = self._doubt(index)
        if doubt is None:
            try:
                return self._draw(
                    index, decord_reader.pictures, "decord", f"closed-GOP {index.codec} in {index.container}"
                )
            except DecordRefutedError as error:
                doubt = f"decord {error}"
                self._insist(doubt)
        if index.exact:
            with suppress(IndexRefutedError):
                return self._draw(index, pyav_reader.pictures, "pyav", doubt)
        return self._draw(count_frames(index, self.reporter.beat), pyav_reader.pictures, "pyav", doubt)

    def _doubt(self, index: Index) -> str | None:
        """Why decord is not used, or None."""
        if self.request["decoder"] == "pyav":
            return str(self.request["because"])
        if index.doubt is not None:
            self._insist(index.doubt)
        return index.doubt

    def _insist(self, doubt: str) -> None:
        """Raises UsageError when the user wants decord and nothing else."""
        if self.request["decoder"] != "decord":
            return
        if importlib.util.find_spec("decord") is None:
            raise UsageError("decord is not installed here.", "Use --decoder auto or --decoder pyav.")
        raise UsageError(
            f"decord would not give the right frames of {self.request['name']}: {doubt}.", "Use --decoder auto."
        )

    def _draw(self, index: Index, reader: Reader, decoder: str, why: str) -> dict[str, Any]:
        """Decodes the chosen frames onto the canvas -> their header."""
        chosen = self.sampling.choose(index.seconds, index.duration_s)
        size = index.scaled(self.request["max_pixels"])
        height, width = size if index.orientation.transpose else size[::-1]
        shape = (len(chosen), height, width, 3)
        self._check_room(shape)
        self.canvas.clear()
        self._promise(index, decoder, len(chosen))
        count = 0
        for picture in reader(index, chosen, size, self.reporter.beat):
            try:
                self.canvas.write(count, picture)
            except OSError as error:
                raise VideoError(
                    f"There is no room for the frames of {self.request['name']}: {error.strerror}.",
                    "Take fewer frames, or free memory.",
                    reason="too_large",
                ) from None
            count += 1
            self.reporter.send(kind="progress", done=count, total=len(chosen))
        if count != len(chosen):  # cannot happen by pts; by place only if a decoder is not the same twice
            raise VideoError(
                f"{self.request['name']} cannot be decoded twice alike.",
                "Copy or download it again.",
                reason="no_frames",
            )
        return {
            "shape": shape,
            "indices": chosen.tolist(),
            "seconds": index.seconds[chosen].tolist(),
            "info": asdict(self._info(index, decoder, why)),
        }

    def _promise(self, index: Index, decoder: str, total: int) -> None:
        """Tells the parent how long to wait at most for the next sign of life, beyond the usual."""
        megapixels = index.width * index.height / 1e6
        steps = decord_reader.slowest_step(index) if decoder == "decord" else 1
        self.reporter.send(kind="progress", done=0, total=total, allowance_s=0.05 * megapixels * steps)

    def _check_room(self, shape: tuple[int, int, int, int]) -> None:
        size, limit = int(np.prod(shape, dtype=np.int64)), self.request["max_bytes"]
        if size > limit:
            raise VideoError(
                f"{shape[0]} frames of {shape[2]}x{shape[1]} from {self.request['name']} take {size / 2**30:.1f} GiB, "
                f"more than the limit of {limit / 2**30:.1f} GiB.",
                "Take fewer frames.",
                reason="too_large",
            )

    def _info(self, index: Index, decoder: str, why: str) -> VideoInfo:
        width, height = index.width, index.height
        if index.orientation.transpose:
            width, height = height, width
        return VideoInfo(
            path=self.request["given"],
            duration_s=index.duration_s,
            fps=index.fps,
            frames_total=len(index.seconds),
            width=width,
            height=height,
            decoder=decoder,
            decoder_reason=why,
            warnings=index.warnings,
        )
