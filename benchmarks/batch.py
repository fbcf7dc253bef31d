"""Clips per second of `dycoke caption` in one process, against a loop over single clips with the same loaded model.

    uv run python -m benchmarks.batch [--clips 64] [--rounds 3] [--batch-size auto] [--decoders 2]
        [--model demo] [--device cpu] [--out benchmarks/results/batch.json]

The loop reads a clip, answers, and reads the next, with one decoder process. Both arms get the same files, frames and
prompt, take turns, and must return identical captions. The clips are copies of `sample_videos/`. The last line is one
JSON object.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dycoke_cli.captioning.captioner import Captioner
from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.pipeline import records_here
from dycoke_cli.captioning.request import Request
from dycoke_cli.config.settings import Settings
from dycoke_cli.session.frame_request import start_decoding
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.video.reader import VideoReader

SAMPLES = Path(__file__).parents[1] / "sample_videos"
PROMPT = "describe the video."
Captions = dict[str, str | None]


def make_clips(folder: Path, count: int) -> None:
    """Copy the sample videos in turn until the folder contains `count` clips."""
    samples = sorted(SAMPLES.glob("*.mp4"))
    for number in range(count):
        shutil.copy(samples[number % len(samples)], folder / f"{number:04}.mp4")


def loop(job: Job, items: Sequence[Item], captioner: Captioner) -> Captions:
    """Caption the clips one at a time."""
    captions: Captions = {}
    settings = job.settings
    with VideoReader(settings.decoder, settings.video_timeout) as reader:
        for item in items:
            pending = start_decoding(reader, item.path, settings, job.default_frames)
            clip = Video.of(pending.result(), settings.start, settings.end, pending.seconds)
            (answer,) = Session(captioner.model, clip, captioner.method, settings).answers(job.questions, Callbacks())
            captions[item.id] = answer.answer
    return captions


def batched(job: Job, items: Sequence[Item], captioner: Captioner) -> Captions:
    """Caption the clips as `dycoke caption` does."""
    return {record.id: record.caption for record in records_here(job, items, lambda: False, captioner)}


def compare(clips: int, rounds: int, request: Callable[[Path], Request]) -> dict[str, Any]:
    """Run both arms in turns and return their times."""
    arms: dict[str, Callable[[Job, Sequence[Item], Captioner], Captions]] = {"loop": loop, "caption": batched}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    captions: dict[str, Captions] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_clips(Path(folder), clips)
        asked = request(Path(folder))
        job, items = asked.job(), asked.find().items
        captioner = Captioner(job)
        for arm in arms.values():
            arm(job, items[:2], captioner)  # warm-up of both arms
        for turn in range(rounds):
            for name in list(arms)[:: 1 if turn % 2 == 0 else -1]:
                began = time.perf_counter()
                captions[name] = arms[name](job, items, captioner)
                seconds[name].append(time.perf_counter() - began)
    if captions["loop"] != captions["caption"]:
        raise SystemExit("the captions differ")
    ratios = [one / two for one, two in zip(seconds["loop"], seconds["caption"], strict=True)]
    return {
        "clips": clips,
        "model": job.settings.model,
        "batch": job.batch or captioner.rows_that_fit(job.default_frames),
        "decoders": job.decoders,
        "identical": True,
        "seconds": seconds,
        "clips_per_s": {name: clips / median(times) for name, times in seconds.items()},
        "times_as_fast": median(ratios),
        "range": [min(ratios), max(ratios)],
        "machine": machine_facts(captioner.device),
    }


def main() -> None:
    """Compare, print the rates and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", default="auto")
    parser.add_argument("--decoders", type=int)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    settings = Settings(model=given.model, device=given.device)

    def request(folder: Path) -> Request:
        return Request(
            (folder,), settings, (PROMPT,), True, batch_size=given.batch_size, decoders=given.decoders
        )  # fmt: skip

    found = compare(given.clips, given.rounds, request)
    for name, rate in found["clips_per_s"].items():
        print(f"{name:8} {rate:6.2f} clips/s, median of {given.rounds}")
    low, high = found["range"]
    print(f"caption is {found['times_as_fast']:.2f} times as fast ({low:.2f} to {high:.2f}), with identical captions")
    line = json.dumps(found)
    if given.out:
        given.out.write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
