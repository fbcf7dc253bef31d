"""Decode one requested video or image sequence inside the worker process, with the decoder that is right for it."""

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dycoke_cli.errors import UsageError, VideoError
from dycoke_cli.video import decord_reader, pyav_reader
from dycoke_cli.video.decord_reader import DecordRefutedError
from dycoke_cli.video.frame_count import count_frames
from dycoke_cli.video.frame_index import FrameIndex, FrameList
from dycoke_cli.video.frames import FramePixels, VideoInfo
from dycoke_cli.video.image_sequence import ImageSequence, UnreadableImagesError, is_image
from dycoke_cli.video.probe import read_index
from dycoke_cli.video.pyav_reader import IndexRefutedError
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.shared_memory import SharedPixels

# (chosen, size, beat) -> upright frames; see `pyav_reader.decode_frames`.
Decode = Callable[[npt.NDArray[np.int64], tuple[int, int], Callable[[], None]], Iterator[FramePixels]]

_MAX_DECORD_FRAMES = 20_000  # of a file; above, decord's own pass over it costs more than decord saves
_MAX_DECORD_PIXELS = 150e6  # to decode: half a second for one thread, and decord is only right with one
_BEAT_S = 0.25


class Reporter:
    """Writer of JSON lines to the parent, each of one `kind`: begun, beat, announced, progress, frames or error."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._last_s = 0.0

    def send(self, **message: Any) -> None:
        """Write one message."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()
        self._last_s = time.monotonic()

    def beat(self) -> None:
        """Write a heartbeat, if the last message is at least a quarter of a second old."""
        if time.monotonic() - self._last_s >= _BEAT_S:
            self.send(kind="beat")


class DecodeJob:
    """One decoding request: chooses decoder and frames, and writes the frames into shared memory."""

    def __init__(self, request: dict[str, Any], reporter: Reporter) -> None:
        self.request, self.reporter = request, reporter
        self.sampling = Sampling(**request["sampling"])
        self.buffers: list[SharedPixels] = []

    def run(self) -> None:
        """Decode the requested images or video, announcing the frames first. Raise VideoError or UsageError."""
        path, name = self.request["path"], self.request["name"]
        if self.request["pictures"] is not None:
            return self._read_images(
                ImageSequence.of_folder(name, path, self.request["pictures"], self.request["rate"]),
                "a folder of pictures",
            )
        if is_image(path):
            return self._read_images(
                ImageSequence.of_file(name, path, self.request["rate"], self.reporter.beat), "a picture"
            )
        try:
            index = read_index(path, name, self.reporter.beat)
        except VideoError as error:
            raise self._with_decord(error, None) from None
        return self._read_video(index)

    def close(self) -> None:
        """Release the shared memory; the parent keeps what it has opened."""
        for buffer in self.buffers:
            buffer.close()

    def _read_images(self, images: ImageSequence, reason: str) -> None:
        """Decode images; leave out those that cannot be read, and start again without them."""
        self._check_decord_optional(f"it is {reason}")
        while True:
            try:
                return self._decode(images.frame_list(), images.decode, "pillow", reason)
            except UnreadableImagesError as error:
                images = images.without(error.places)

    def _read_video(self, index: FrameIndex) -> None:
        """Decode with decord where it is right, else with PyAV by pts, else with PyAV by counting frames."""
        not_decord = self._why_not_decord(index)
        if not_decord is None:
            try:
                reason = f"closed-GOP {index.codec} in {index.container}"
                self._send_allowance(decord_reader.slowest_step(index) * index.stored_width * index.height)
                return self._decode(index, partial(decord_reader.decode_frames, index), "decord", reason)
            except DecordRefutedError as error:
                not_decord = f"decord {error}"
                self._check_decord_optional(not_decord)
        self._send_allowance(index.stored_width * index.height)
        if index.exact:
            with suppress(IndexRefutedError):
                return self._decode(index, partial(pyav_reader.decode_frames, index), "pyav", not_decord)
        try:
            index = count_frames(index, self.reporter.beat)
        except VideoError as error:
            raise self._with_decord(error, not_decord) from None
        return self._decode(index, partial(pyav_reader.decode_frames, index), "pyav", not_decord)

    def _why_not_decord(self, index: FrameIndex) -> str | None:
        """Return why decord is not used, or None where it is."""
        if self.request["decoder"] == "pyav":
            return str(self.request["because"])
        if index.decord_risk is not None:
            self._check_decord_optional(index.decord_risk)
            return index.decord_risk
        if self.request["decoder"] == "decord":
            return None
        if len(index.pts) > _MAX_DECORD_FRAMES:
            return "long, and PyAV reads only what it needs"
        chosen = self.sampling.choose(index.seconds, index.duration_s)
        if index.decoded_for(chosen) * index.stored_width * index.height > _MAX_DECORD_PIXELS:
            return "much to decode, at which PyAV is faster"
        return None

    def _check_decord_optional(self, reason: str) -> None:
        """Raise UsageError if the user asked for decord, which cannot be used for this reason."""
        if self.request["decoder"] != "decord":
            return
        if importlib.util.find_spec("decord") is None:
            raise UsageError("decord is not installed here.", "Use --decoder auto or --decoder pyav.")
        raise UsageError(
            f"decord would not give the right frames of {self.request['name']}: {reason}.", "Use --decoder auto."
        )

    def _with_decord(self, error: VideoError, not_decord: str | None) -> VideoError:
        """Add decord's error to PyAV's where no frame decodes; decord is tried here if it has not been yet."""
        asked_for_pyav = (self.request["decoder"], self.request["because"]) == ("pyav", "asked for")
        if error.reason != "no_frames" or asked_for_pyav:
            return error
        if not_decord is None and self.request["decoder"] == "pyav":
            not_decord = f"decord failed: {self.request['because']}"
        if not_decord is None:
            not_decord = f"decord says {decord_reader.first_frame_error(self.request['path'])!r}"
        elif not not_decord.startswith("decord "):
            not_decord = f"decord is not tried: {not_decord}"
        return VideoError(f"{error.message.rstrip('.')}; {not_decord}.", error.remedy, reason=error.reason)

    def _decode(self, frame_list: FrameList, decode: Decode, decoder: str, reason: str) -> None:
        """Announce the chosen frames, then decode them into shared memory, which is new for each attempt."""
        chosen = self.sampling.choose(frame_list.seconds, frame_list.duration_s)
        size = frame_list.scaled(self.request["max_pixels"])
        height, width = size if frame_list.orientation.transpose else size[::-1]
        shape = (len(chosen), height, width, 3)
        self._check_room(shape)
        try:
            buffer = SharedPixels(int(np.prod(shape, dtype=np.int64)))
        except OSError as error:
            raise self._no_room(error) from None
        self.buffers.append(buffer)
        self.reporter.send(
            kind="announced",
            memory=buffer.handle,
            shape=shape,
            indices=chosen.tolist(),
            seconds=frame_list.seconds[chosen].tolist(),
            info=asdict(self._info(frame_list, decoder, reason)),
        )
        count = 0
        for frame in decode(chosen, size, self.reporter.beat):
            try:
                buffer.write(count, frame)
            except OSError as error:
                raise self._no_room(error) from None
            count += 1
            self.reporter.send(kind="progress", done=count)
        if count != len(chosen):  # impossible by pts; by counting, only if two passes decode different frames
            raise VideoError(
                f"Two decodings of {self.request['name']} differ in their frames.",
                "Copy or download it again.",
                reason="no_frames",
            )

    def _no_room(self, error: OSError) -> VideoError:
        return VideoError(
            f"There is no room for the frames of {self.request['name']}: {error.strerror}.",
            "Take fewer frames, or free memory.",
            reason="too_large",
        )

    def _send_allowance(self, pixels: int) -> None:
        """Grant extra seconds until the next message, by the pixels to decode before it."""
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

    def _info(self, frame_list: FrameList, decoder: str, reason: str) -> VideoInfo:
        width, height = frame_list.upright_size
        return VideoInfo(
            path=self.request["given"],
            duration_s=frame_list.duration_s,
            fps=frame_list.fps,
            frames_total=len(frame_list.seconds),
            width=width,
            height=height,
            decoder=decoder,
            decoder_reason=reason,
            hdr=None if frame_list.hdr is None else frame_list.hdr.transfer,
            damaged=bool(frame_list.losses),
            warnings=frame_list.losses + frame_list.notes,
        )
