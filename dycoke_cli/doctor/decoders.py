"""Check whether the video decoders read a bundled clip."""

import time
from typing import Literal

from dycoke_cli.doctor.installation import decord_package
from dycoke_cli.doctor.result import CheckResult, ok
from dycoke_cli.errors import DyCokeError, UsageError
from dycoke_cli.video import bundled_clips
from dycoke_cli.video.reader import read_frames
from dycoke_cli.video.sampling import Sampling

FRAMES = 4
LIMIT_S = 60.0


def check_pyav() -> CheckResult:
    """Decode the clip with PyAV, which every video needs."""
    try:
        return _decoded("pyav")
    except DyCokeError as error:
        return CheckResult("pyav", "broken", _one_line(error), "Install it again: pip install --force-reinstall av")


def check_decord() -> CheckResult:
    """Decode the clip with decord and compare the frames with PyAV's; without decord, PyAV decodes everything."""
    try:
        return _decoded("decord")
    except UsageError as error:
        package = decord_package()
        if "not installed" in error.message and package is None:
            return ok("decord", "there is none for this platform; PyAV reads everything")
        remedy = f"PyAV reads everything instead; or: pip install {package or 'decord'}"
        return CheckResult("decord", "warning", _one_line(error), remedy)
    except DyCokeError as error:
        remedy = "PyAV is used where decord fails; --decoder pyav never uses it"
        return CheckResult("decord", "warning", _one_line(error), remedy)


def _decoded(decoder: Literal["decord", "pyav"]) -> CheckResult:
    began = time.perf_counter()
    frames = read_frames(bundled_clips.VIDEO, Sampling(FRAMES), decoder, LIMIT_S)
    seconds = time.perf_counter() - began
    height, width = frames.pixels.shape[1:3]
    message = f"{len(frames)} frames of {bundled_clips.VIDEO.name}, {width}x{height}, in {seconds:.2g} s"
    return ok(decoder, message, seconds=seconds, frames=len(frames))


def _one_line(error: DyCokeError) -> str:
    """Return the message of a video error without the full stop and with the file name of the sample only."""
    return error.message.replace(str(bundled_clips.VIDEO), bundled_clips.VIDEO.name).rstrip(".")
