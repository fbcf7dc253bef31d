"""Time to read and resize the frames of a video for the vision tower, compared with ffmpeg decoding it once.

    uv run python -m benchmarks.decoding [--rounds 5] [--frames 16] [--ffmpeg PATH] [--clips FOLDER] [--out FILE]

The clip, generated here or read from --clips, is 10 s of 1080p H.264 at 30 frames a second, with x264's default key
frames. The measured path is all that `ask` does before the vision tower: a fresh decoder process, the index, decoding,
and resizing for the demo model. Arms take turns; times are medians of wall-clock and of processor seconds. The second
table compares ways to reach the same frames: by seeking to key frames, by decoding on, and by estimated cost. The last
line is one JSON object.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import torch

from benchmarks.command_line import option_parser, write_result
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.video import pyav_reader
from dycoke_cli.video.probe import read_index
from dycoke_cli.video.reader import Decoder, VideoReader
from dycoke_cli.video.sampling import Sampling

SIZE, RATE, SECONDS = (1920, 1080), 30, 10
SHORT_GOP = 12


def make_clip(path: Path, gop: int | None = None) -> None:
    """Encode moving waves with noise; gop: frames from one key frame to the next, None for x264's default."""
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = 120 + 50 * np.sin(x / 90) + 40 * np.sin(y / 70 + x / 200)
    grain = np.random.default_rng(0).normal(0, 6, (height, width))
    planes = [np.clip(waves + grain + shift, 0, 255).astype(np.uint8) for shift in (0, 20, -20)]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, RATE)
        if gop is not None:
            stream.codec_context.gop_size = gop
        for place in range(RATE * SECONDS):
            moved = [np.roll(plane, (place * step, place * 3), (0, 1)) for step, plane in enumerate(planes, 1)]
            frame = av.VideoFrame.from_ndarray(np.stack(moved, -1))
            frame.pts = place
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def ours(path: Path, model: Llava, frames: int, decoder: Decoder) -> None:
    """Read and resize as `ask` does, in pieces of 4 frames."""
    with VideoReader(decoder) as reader:
        pixels = reader.submit(path, Sampling(frames=frames)).announced().pixels
        for start in range(0, len(pixels), 4):
            model.pixels(pixels[start : start + 4])


def with_ffmpeg(path: Path, ffmpeg: str) -> None:
    """Decode the whole clip once with ffmpeg and discard the frames."""
    command = [ffmpeg, "-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-f", "null", "-"]
    subprocess.run(command, check=True)


def decode_frames(path: Path, frames: int, seek_cost: int | None) -> None:
    """Decode `frames` evenly spaced frames with PyAV in this process; seek_cost None: the reader's own."""
    index = read_index(str(path), path.name, lambda: None)
    chosen = Sampling(frames=frames).choose(index.seconds, index.duration_s)
    for _ in pyav_reader.decode_frames(index, chosen, (index.width, index.height), lambda: None, seek_cost):
        pass


def in_turns(arms: dict[str, Callable[[], None]], rounds: int) -> dict[str, dict[str, float]]:
    """Run all arms once unmeasured, then in turns; return median wall-clock and processor seconds, with children's."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
    for number in range(-1, rounds):
        for name, run in arms.items():
            began, before = time.perf_counter(), sum(os.times()[:4])
            run()
            if number >= 0:
                measured[name].append((time.perf_counter() - began, sum(os.times()[:4]) - before))
    return {
        name: {"wall_s": round(median(w for w, _ in runs), 3), "cpu_s": round(median(c for _, c in runs), 3)}
        for name, runs in measured.items()
    }


def measure(rounds: int, frames: int, ffmpeg: str | None, folder: Path) -> dict[str, Any]:
    """Measure all arms on the clips in `folder`; missing clips are generated."""
    torch.set_num_threads(1)  # as `ask` does for a model as small as the demo
    model = loading.load(checkpoints.locate("demo"), torch.device("cpu"), torch.float32)
    clip, short = folder / "clip.mp4", folder / "short.mp4"
    for path, gop in ((clip, None), (short, SHORT_GOP)):
        if not path.exists():
            make_clip(path, gop)
    arms: dict[str, Callable[[], None]] = {"ffmpeg": lambda: with_ffmpeg(clip, ffmpeg)} if ffmpeg else {}
    arms |= {name: (lambda name=name: ours(clip, model, frames, name)) for name in ("auto", "decord", "pyav")}
    reading = in_turns(arms, rounds)
    ways = {"seek": 0, "read on": 1 << 30, "by cost": None}
    walks: dict[str, Any] = {}
    for name, path, count in (("default GOP", clip, frames), (f"GOP {SHORT_GOP}", short, 4 * frames)):
        runs = {way: (lambda p=path, n=count, c=cost: decode_frames(p, n, c)) for way, cost in ways.items()}
        walks[name] = {"frames": count, "ways": in_turns(runs, rounds)}
    for figures in reading.values():
        for key in ("wall_s", "cpu_s"):
            figures[f"{key[:-2]}_ratio"] = round(figures[key] / reading["ffmpeg"][key], 2) if ffmpeg else None
    machine = machine_facts(torch.device("cpu"))
    return {"rounds": rounds, "frames": frames, "machine": machine, "reading": reading, "walks": walks}


def main() -> None:
    """Measure, print tables and one JSON line."""
    parser = option_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"))
    parser.add_argument("--clips", type=Path, help="folder to keep the clips in")
    arguments = parser.parse_args()
    if arguments.ffmpeg is None:
        print("ffmpeg was not found, so there are no ratios: name one with --ffmpeg")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments.rounds, arguments.frames, arguments.ffmpeg, arguments.clips or Path(folder))
    for name, run in result["reading"].items():
        ratio = "" if run["wall_ratio"] is None else f"  {run['wall_ratio']:5.2f}x  {run['cpu_ratio']:5.2f}x processor"
        print(f"{name:>12}  {run['wall_s']:7.3f} s  {run['cpu_s']:7.3f} s processor{ratio}")
    for clip, walked in result["walks"].items():
        for way, run in walked["ways"].items():
            figures = f"{run['wall_s']:7.3f} s  {run['cpu_s']:7.3f} s processor"
            print(f"{way:>12}  {figures}  {walked['frames']} frames, {clip}")
    write_result(result, arguments.out)


if __name__ == "__main__":
    main()
