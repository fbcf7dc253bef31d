"""One video, read in the child: which decoder, which frames, how large, and what is told about them."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video import decord_reader, pyav_reader
from dycoke_cli.video.decord_reader import DecordRefutedError
from dycoke_cli.video.frame_count import count_frames
from dycoke_cli.video.frame_index import FrameIndex
from dycoke_cli.video.frame_list import FrameList
from dycoke_cli.video.frames import Picture, VideoInfo
from dycoke_cli.video.image_sequence import ImageSequence, ImagesLostError, is_picture
from dycoke_cli.video.probe import read_index
from dycoke_cli.video.pyav_reader import IndexRefutedError
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.shared_memory import SharedPixels
from dycoke_cli.video.worker_messages import Reporter

Reader = Callable[[npt.NDArray[np.int64], tuple[int, int], Callable[[], None]], Iterator[Picture]]

_LONG = 20_000  # frames: from here on decord's own pass over the file costs more than it saves
_MUCH = 150e6  # pixels to decode: half a second for one thread, and decord is right with one only


class DecodeJob:
    """One request on its way to frames."""

    def __init__(self, request: dict[str, Any], reporter: Reporter) -> None:
        self.request, self.reporter = request, reporter
        self.sampling = Sampling(**request["sampling"])
        self.memories: list[SharedPixels] = []

    def run(self) -> None:
        """Reads pictures or a video: says what comes, then draws it. Raises VideoError, UsageError."""
        path, name = self.request["path"], self.request["name"]
        if self.request["pictures"] is not None:
            return self._read_images(
                ImageSequence.of_folder(name, path, self.request["pictures"], self.request["rate"]),
                "a folder of pictures",
            )
        if is_picture(path):
            return self._read_images(
                ImageSequence.of_file(name, path, self.request["rate"], self.reporter.beat), "a picture"
            )
        try:
            index = read_index(path, name, self.reporter.beat)
        except VideoError as error:
            raise self._with_decord(error, None) from None
        return self._read_video(index)

    def close(self) -> None:
        """Lets go of what was drawn on."""
        for memory in self.memories:
            memory.close()

    def _read_images(self, images: ImageSequence, why: str) -> None:
        """Draws pictures, leaving out what cannot be read."""
        if self.request["decoder"] == "decord":
            self._insist(f"it is {why}")
        while True:
            try:
                return self._draw(images.frame_list(), images.pictures, "pillow", why)
            except ImagesLostError as error:
                images = images.without(error.places)

    def _read_video(self, index: FrameIndex) -> None:
        """Tries decord where it is right, then PyAV by its index, then PyAV by counting."""
        doubt = self._doubt(index)
        if doubt is None:
            try:
                why = f"closed-GOP {index.codec} in {index.container}"
                self._promise(decord_reader.slowest_step(index) * index.stored_width * index.height)
                return self._draw(index, partial(decord_reader.pictures, index), "decord", why)
            except DecordRefutedError as error:
                doubt = f"decord {error}"
                self._insist(doubt)
        self._promise(index.stored_width * index.height)
        if index.exact:
            with suppress(IndexRefutedError):
                return self._draw(index, partial(pyav_reader.pictures, index), "pyav", doubt)
        try:
            index = count_frames(index, self.reporter.beat)
        except VideoError as error:
            raise self._with_decord(error, doubt) from None
        return self._draw(index, partial(pyav_reader.pictures, index), "pyav", doubt)

    def _doubt(self, index: FrameIndex) -> str | None:
        """Why decord is not used, or None."""
        if self.request["decoder"] == "pyav":
            return str(self.request["because"])
        if index.doubt is not None:
            self._insist(index.doubt)
            return index.doubt
        if self.request["decoder"] == "auto" and len(index.pts) > _LONG:
            return "long, and PyAV reads only what it needs"
        if self.request["decoder"] == "auto" and self._work(index) > _MUCH:
            return "much to decode, at which PyAV is faster"
        return None

    def _work(self, index: FrameIndex) -> int:
        """How many pixels have to be decoded to show what is wanted."""
        chosen = self.sampling.choose(index.seconds, index.duration_s)
        return index.decoded_for(chosen) * index.stored_width * index.height

    def _insist(self, doubt: str) -> None:
        """Raises UsageError when the user wants decord and nothing else."""
        if self.request["decoder"] != "decord":
            return
        if importlib.util.find_spec("decord") is None:
            raise UsageError("decord is not installed here.", "Use --decoder auto or --decoder pyav.")
        raise UsageError(
            f"decord would not give the right frames of {self.request['name']}: {doubt}.", "Use --decoder auto."
        )

    def _with_decord(self, error: VideoError, doubt: str | None) -> VideoError:
        """Adds decord's reason to PyAV's where neither finds a frame; decord is asked if it has not been yet."""
        asked_for_pyav = (self.request["decoder"], self.request["because"]) == ("pyav", "asked for")
        if error.reason != "no_frames" or asked_for_pyav:
            return error
        if doubt is None and self.request["decoder"] == "pyav":
            doubt = f"decord failed: {self.request['because']}"
        if doubt is None:
            doubt = f"decord says {decord_reader.refusal(self.request['path'])!r}"
        elif not doubt.startswith("decord "):
            doubt = f"decord is not asked: {doubt}"
        return VideoError(f"{error.message.rstrip('.')}; {doubt}.", error.remedy, reason=error.reason)

    def _draw(self, frame_list: FrameList, reader: Reader, decoder: str, why: str) -> None:
        """Announces the chosen frames and decodes them into shared memory, a new one each time it is tried."""
        chosen = self.sampling.choose(frame_list.seconds, frame_list.duration_s)
        size = frame_list.scaled(self.request["max_pixels"])
        height, width = size if frame_list.orientation.transpose else size[::-1]
        shape = (len(chosen), height, width, 3)
        self._check_room(shape)
        try:
            memory = SharedPixels(int(np.prod(shape, dtype=np.int64)))
        except OSError as error:
            raise self._no_room(error) from None
        self.memories.append(memory)
        self.reporter.send(
            kind="coming",
            memory=memory.handle,
            shape=shape,
            indices=chosen.tolist(),
            seconds=frame_list.seconds[chosen].tolist(),
            info=asdict(self._info(frame_list, decoder, why)),
        )
        count = 0
        for picture in reader(chosen, size, self.reporter.beat):
            try:
                memory.write(count, picture)
            except OSError as error:
                raise self._no_room(error) from None
            count += 1
            self.reporter.send(kind="progress", done=count)
        if count != len(chosen):  # cannot happen by pts; by place only if a decoder is not the same twice
            raise VideoError(
                f"{self.request['name']} cannot be decoded twice alike.",
                "Copy or download it again.",
                reason="no_frames",
            )

    def _no_room(self, error: OSError) -> VideoError:
        return VideoError(
            f"There is no room for the frames of {self.request['name']}: {error.strerror}.",
            "Take fewer frames, or free memory.",
            reason="too_large",
        )

    def _promise(self, pixels: int) -> None:
        """Tells the parent how long a sign of life may take beyond the usual, by the pixels to decode before it."""
        self.reporter.send(kind="beat", allowance_s=0.05 * pixels / 1e6)

    def _check_room(self, shape: tuple[int, int, int, int]) -> None:
        size, limit = int(np.prod(shape, dtype=np.int64)), self.request["max_bytes"]
        if size > limit:
            raise VideoError(
                f"{shape[0]} frames of {shape[2]}x{shape[1]} from {self.request['name']} take {size / 2**30:.1f} GiB, "
                f"more than the limit of {limit / 2**30:.1f} GiB.",
                "Take fewer frames.",
                reason="too_large",
            )

    def _info(self, frame_list: FrameList, decoder: str, why: str) -> VideoInfo:
        width, height = frame_list.upright_size
        return VideoInfo(
            path=self.request["given"],
            duration_s=frame_list.duration_s,
            fps=frame_list.fps,
            frames_total=len(frame_list.seconds),
            width=width,
            height=height,
            decoder=decoder,
            decoder_reason=why,
            hdr=None if frame_list.hdr is None else frame_list.hdr.transfer,
            damaged=bool(frame_list.losses),
            warnings=frame_list.losses + frame_list.notes,
        )
