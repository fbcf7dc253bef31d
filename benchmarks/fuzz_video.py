"""Fuzz the video reader with damaged clips: each must return frames or raise a VideoError before its deadline.

    uv run python -m benchmarks.fuzz_video [--cases 10000] [--seed 0] [--out benchmarks/results/fuzz_video.json]

Bytes of small clips in many containers are flipped, cut out, repeated, overwritten or spliced with another clip's. One
reader reads them all. Recorded are the outcomes, the longest time, the number of decoder processes, open files and
memory. The run fails if a case returns invalid frames, raises another error or exceeds its deadline. The last line is
one JSON object.
"""

import collections
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.command_line import option_parser, report_fuzzing
from dycoke_cli.errors import VideoError
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from tests.video.made import write

DEADLINE_S = 30.0
STALL_S = 10.0
MARGIN_S = 10.0  # to kill the decoder process on a busy machine

CLIPS: dict[str, dict[str, Any]] = {
    "closed.mp4": {},
    "open.mp4": {"options": {"x264-params": "open-gop=1:keyint=8:bframes=3"}},
    "trimmed.mov": {"start": -5},
    "film.mkv": {},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "stream.ts": {"rate": 25},
    "disc.mpg": {"codec": "mpeg2video", "rate": 25},
    "b_frames.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "motion.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "windows.wmv": {"codec": "wmv2"},
    "flash.flv": {},
    "bare.h264": {},
    "moving.gif": {"codec": "gif", "pixels": "rgb8"},
    "moving.apng": {"codec": "apng", "pixels": "rgba"},
    "still.png": {"codec": "png", "pixels": "rgb24", "count": 1, "container": "image2"},
    "still.jpg": {"codec": "mjpeg", "pixels": "yuvj420p", "count": 1, "container": "image2"},
}


def clips(folder: Path) -> dict[str, bytes]:
    """Encode the clips for which PyAV has an encoder."""
    for name, how in CLIPS.items():
        if how.get("codec", "libx264") in av.codecs_available:
            write(folder / name, **{"count": 24, "size": (64, 48), **how})
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def flipped(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Change single bytes, anywhere or in the first kilobyte, which contains most headers."""
    changed = np.frombuffer(content, np.uint8).copy()
    end = len(changed) if rng.random() < 0.6 else min(1024, len(changed))
    places = rng.integers(0, end, rng.integers(1, 33))
    changed[places] ^= rng.integers(1, 256, len(places), dtype=np.uint8)
    return changed.tobytes()


def cut(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Remove the end, the beginning or a middle part."""
    one, two = sorted(rng.integers(1, len(content), 2).tolist())
    return (content[:one], content[one:], content[:one] + content[two:])[rng.integers(3)]


def spliced(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Replace the end by a part of another clip."""
    return content[: rng.integers(1, len(content))] + other[rng.integers(0, len(other)) :]


def repeated(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Repeat a part."""
    one, two = sorted(rng.integers(1, len(content), 2).tolist())
    return content[:two] + content[one:]


def overwritten(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Overwrite a run of bytes with noise, zeros or largest integers."""
    at, length = int(rng.integers(0, len(content))), int(rng.choice([4, 8, 64, 512]))
    runs = (rng.bytes(length), bytes(length), b"\xff" * length, b"\x7f\xff\xff\xff" * (length // 4))
    return content[:at] + runs[rng.integers(4)] + content[at + length :]


MUTATIONS: tuple[Callable[[np.random.Generator, bytes, bytes], bytes], ...] = (
    flipped,
    cut,
    spliced,
    repeated,
    overwritten,
)


def cases(seed: int, count: int, sources: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the name of a clip and its content, damaged once or twice."""
    rng = np.random.default_rng(seed)
    names = list(sources)
    for _ in range(count):
        name, other = rng.choice(names, 2).tolist()
        content = sources[name]
        for _ in range(rng.integers(1, 3)):
            content = MUTATIONS[rng.integers(len(MUTATIONS))](rng, content, sources[other])
        yield name, content


@dataclass
class Tally:
    """Outcomes, failures and resource use of all cases."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    hard: list[str] = field(default_factory=list)  # cases that ended the decoder process or exceeded its memory
    slowest_s: float = 0.0
    processes: set[int | None] = field(default_factory=set)
    usage: list[dict[str, int]] = field(default_factory=list)  # sampled from the hundredth case on

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "outcomes": dict(self.outcomes.most_common()),
            "failures": self.failures,
            "hard": self.hard,
            "slowest_s": round(self.slowest_s, 2),
            "decoder_processes": len(self.processes),
            "usage": self.usage,
        }


def fuzz(seed: int, count: int, folder: Path, progress: Callable[[int], None] | None = None) -> Tally:
    """Read `count` damaged clips with one reader and record the outcomes."""
    (folder / "whole").mkdir()
    sources, tally = clips(folder / "whole"), Tally()
    with VideoReader(timeout_s=DEADLINE_S, stall_s=STALL_S) as reader:
        for place, (name, content) in enumerate(cases(seed, count, sources)):
            path = folder / f"case_{name}"
            path.write_bytes(content)
            began = time.monotonic()
            outcome = read(reader, path)
            took_s = time.monotonic() - began
            line = f"case {place} of seed {seed}, {name}: {outcome} after {took_s:.1f} s"
            if outcome.startswith("wrong") or took_s > DEADLINE_S + MARGIN_S:
                tally.failures.append(line)
            if outcome in ("error: crash", "error: timeout", "error: too_large"):
                tally.hard.append(line)
            tally.outcomes[outcome] += 1
            tally.slowest_s = max(tally.slowest_s, took_s)
            tally.processes.add(reader.child_pid)
            if place % max(100, count // 10) == 99:
                tally.usage.append(usage(reader.child_pid))
            if progress is not None:
                progress(place + 1)
    return tally


def read(reader: VideoReader, path: Path) -> str:
    """Read eight frames of a file and return the outcome; it begins with `wrong` for a failure."""
    try:
        frames = reader.submit(path, Sampling(frames=8)).result()
    except VideoError as error:
        return f"error: {error.reason}" if error.message and "\n" not in error.message else "wrong: no one-line message"
    except Exception as error:
        return f"wrong: {type(error).__name__}"
    if not valid(frames):
        return "wrong: invalid frames"
    return "frames of a file known to be damaged" if frames.info.damaged else "frames"


def valid(frames: Frames) -> bool:
    """Return whether shapes, counts, timestamps and damage flags are consistent."""
    steps = np.diff(frames.seconds)
    return (
        1 <= len(frames) <= 8
        and frames.pixels.shape == (len(frames), frames.info.height, frames.info.width, 3)
        and len(frames) == len(frames.indices) == len(frames.seconds) <= frames.info.frames_total
        and bool(np.isfinite(frames.seconds).all() and (steps >= 0).all())
        and frames.info.damaged <= bool(frames.info.warnings)
    )


def usage(child: int | None) -> dict[str, int]:
    """Return open files and memory in bytes of this process and the decoder process; empty without /proc."""
    found = {}
    for who, pid in (("parent", os.getpid()), ("child", child)):
        try:
            found[f"{who}_open_files"] = len(os.listdir(f"/proc/{pid}/fd"))
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            found[f"{who}_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            pass
    return found


def main() -> None:
    """Run the cases; print the number of each outcome, the failures and one JSON line."""
    parser = option_parser(__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()

    def progress(done: int) -> None:
        if done % 500 == 0:
            print(f"{done} of {arguments.cases} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(arguments.seed, arguments.cases, Path(folder), progress)
    machine = {"system": platform.platform(), "av": av.__version__, "numpy": np.__version__}
    result = {"cases": arguments.cases, "seed": arguments.seed, "machine": machine, **tally.as_json()}
    report_fuzzing(result, tally.outcomes.most_common(), tally.failures, arguments.out)


if __name__ == "__main__":
    main()
