"""The parts of a GPU day and the seconds that each may take."""

import sys
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 480  # of the whole command, on an H100
GRACE_S = 4.0  # from SIGTERM, at which a part writes what it has, to SIGKILL at the end of its seconds


@dataclass(frozen=True)
class Part:
    """One part: it runs as a process of its own, which is ended after `seconds`.

    arguments: of Python, in place of those that run `parts/NAME.py`.
    """

    name: str
    seconds: float
    text: str
    arguments: tuple[str, ...] = ()

    def command(self, folder: Path, device: str) -> list[str]:
        """Return the command line; folder: where the part writes its record."""
        own = ("-m", "benchmarks.gpu.child", self.name, str(folder), device, str(self.seconds))
        return [sys.executable, *(self.arguments or own)]


# Together they take less than LIMIT_S, if each takes all of its seconds. What everything else rests on comes first.
PARTS = (
    Part("tests", 65, "all GPU tests"),
    Part("golden", 28, "the recorded runs of the official code, in float32"),
    Part("targets", 205, "the targets, 7B shape"),
    Part("profile", 30, "vision, prefill and decode step by kernel"),
    Part("lengths", 50, "128, 256 and 512 frames"),
    Part("small", 22, "the 0.5B shape, 64 frames"),
    Part("compiled", 32, "decode steps with --compile beside those without"),
    Part("cold", 28, "ask as a process, with and without compiled kernels on disk"),
    Part("captions", 16, "captions of 40 clips"),
)
