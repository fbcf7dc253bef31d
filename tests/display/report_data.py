"""Made-up runs for reports of any length."""

import numpy as np

from dycoke_cli.display.report import ReportRun
from dycoke_cli.session.answer import Answer, Memory, StepRecord, Times, TokenCounts, Trace
from dycoke_cli.video.frames import Frames, VideoInfo

MODEL = {"name": "demo", "family": "llava_onevision", "dtype": "float32", "device": "cpu"}
OPTIONS = {"k": 0.7, "l": 3, "p": 0.7}
WORDS = ["A", " red", " cube", " rolls", " past", " the", " yellow", " star", ",", " then", " it", " stops", "."]


def frames(count: int, path: str = "clip.mp4") -> Frames:
    """Frames of a disc that moves over noise, which JPEG compresses badly."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:270, :480]
    pixels = np.empty((count, 270, 480, 3), np.uint8)
    for number in range(count):
        shade = 120 + 60 * np.sin(rows / 60) + rng.normal(0, 12, rows.shape)
        disc = (rows - 150) ** 2 + (cols - 40 - 400 * number / count) ** 2 < 2500
        picture = np.stack([np.where(disc, 200, shade), np.where(disc, 60, shade + 10), np.where(disc, 50, shade)], -1)
        pixels[number] = picture.clip(0, 255)
    info = VideoInfo(path, count / 2, 24.0, 12 * count, 480, 270, "pyav", "test")
    return Frames(pixels, tuple(range(0, 12 * count, 12)), tuple(np.arange(count) / 2.0), info)


def trace(count: int, side: int, steps: int) -> Trace:
    """A trace that keeps every fourth frame, merges 70 % of the others, and reads a moving 30 % of the kept tokens."""
    rng = np.random.default_rng(1)
    per_frame, total = side * side, count * side * side
    merged = np.arange(total)
    for frame in range(count):
        back = (0, 1, 2, 1)[frame % 4]
        places = rng.permutation(per_frame)[: round(0.7 * per_frame) if back else 0]
        merged[frame * per_frame + places] = merged[(frame - back) * per_frame + places]
    prefill = np.flatnonzero(merged == np.arange(total))
    read, scores = [prefill.tolist()], [[]]
    for step in range(1, steps):
        focus = np.abs(prefill // per_frame - count * step / steps)
        score = rng.random(len(prefill)) * np.exp(-focus / count * 4)
        scores.append((score / score.sum() * 0.6).tolist())
        read.append(np.sort(prefill[np.argsort(-score)[: round(0.3 * len(prefill))]]).tolist())
    token = np.arange(total)
    pieces = [WORDS[step % len(WORDS)] for step in range(steps - 1)] + [""]
    place = token % per_frame
    return Trace(
        (token // per_frame).tolist(), (place // side).tolist(), (place % side).tolist(),
        prefill.tolist(), merged.tolist(), read, scores, pieces,
    )  # fmt: skip


def answer(which: Trace | None, question: str = "what happens?", seconds: float = 1.0) -> Answer:
    """An answer with the steps of the trace, or with a single step."""
    total = len(which.frame) if which else 100
    sets = which.steps if which else [list(range(total))]
    steps, before = [], sets[0]
    for number, now in enumerate(sets):
        recalled = len(set(now) - set(before)) if number else 0
        steps.append(StepRecord(number, len(now), round(len(now) / total, 6), recalled, number > 0))
        before = now
    text = "".join(which.pieces).strip() if which else "a red cube"
    entered = len(which.prefill) if which else total
    return Answer(
        question=question,
        answer=text,
        finish="stop",
        tokens=TokenCounts(total, entered, 1, 30, len(sets), total + 31, entered / total, 8192),
        steps=tuple(steps),
        time_s=Times(0.4, 0.8 * seconds, 0.5 * seconds, 0.4 + 1.3 * seconds, seconds, 0.02, 0.4 + 2.3 * seconds),
        memory_bytes=Memory(10**9, 10**8, 2 * 10**8, 3 * 10**9, 4 * 10**8, "cuda"),
        trace=which,
    )


def runs(count: int, side: int, steps: int, question: str = "what happens?") -> list[ReportRun]:
    """A run with a trace, and a baseline."""
    ours, plain = answer(trace(count, side, steps), question), answer(None, question, 1.8)
    return [
        ReportRun("dycoke", {"name": "dycoke", "options": OPTIONS}, (ours,)),
        ReportRun("uncompressed", {"name": "full", "options": {}}, (plain,), baseline=True),
    ]
