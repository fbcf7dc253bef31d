"""Render the sample videos, their questions and their manifest: `uv run python -m training.make_samples`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer
import yaml
from PIL import Image

from training.frames import pictures
from training.samples import Sample, samples
from training.time_questions import description
from training.timeline import Timeline

SEED = 2024
# Drawn at twice the size and reduced, so that slow things move by fractions of a pixel.
OVERSAMPLING = 2


def encode(sample: Sample, path: Path) -> None:
    """Render a sample and write it as H.264 (yuv420p) in MP4."""
    width, height = sample.scene.aspect
    frames = round(sample.seconds * sample.rate)
    rng = np.random.default_rng(SEED)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        # One thread, because x264's output depends on the number of threads.
        stream = container.add_stream("libx264", rate=sample.rate, options={"crf": "20", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        times = np.linspace(0, 1, frames).tolist()
        for image in pictures(sample.scene, times, OVERSAMPLING * min(width, height), rng, jitter=0.3):
            small = Image.fromarray(image).reduce(OVERSAMPLING)
            for packet in stream.encode(av.VideoFrame.from_image(small)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def manifest(made: list[tuple[Sample, Path]]) -> str:
    """Return a Markdown table of the clips: description, length, size and the start of their SHA-256."""
    lines = [
        "# Sample videos",
        "",
        "Rendered by this project (`uv run python -m training.make_samples`, seed "
        f"{SEED}); no third party's material is in them.",
        "Licence: CC0-1.0. `questions.yaml` holds questions about them and the true answers.",
        "",
        "| file | shows | length | frames/s | size | bytes | SHA-256 starts |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for sample, path in made:
        shown = description(Timeline.of(sample.scene, np.linspace(0, 1, 16).tolist()))
        width, height = sample.scene.aspect
        data = path.read_bytes()
        lines.append(
            f"| {path.name} | {shown} | {sample.seconds:g} s | {sample.rate} | {width}x{height} "
            f"| {len(data)} | {hashlib.sha256(data).hexdigest()[:12]} |"
        )
    return "\n".join(lines) + "\n"


def main(
    out: Annotated[Path, typer.Option(help="folder for the clips")] = Path("sample_videos"),
    only: Annotated[str, typer.Option(help="render this clip alone")] = "",
) -> None:
    """Render the clips, their questions and their manifest."""
    out.mkdir(parents=True, exist_ok=True)
    made = [(sample, out / f"{sample.name}.mp4") for sample in samples()]
    for sample, path in made:
        if only in ("", sample.name):
            encode(sample, path)
    rows = [
        {"video": path.name, "question": question.text, "answer": question.answer, "type": question.kind}
        for sample, path in made
        for question in sample.questions
    ]
    (out / "questions.yaml").write_text(yaml.safe_dump(rows, sort_keys=False))
    if not only:
        (out / "MANIFEST.md").write_text(manifest(made))


if __name__ == "__main__":
    typer.run(main)
