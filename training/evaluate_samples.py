"""Asks a model folder the questions of the sample videos: `uv run python -m training.evaluate_samples`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import av
import numpy as np
import torch
import typer
import yaml

from training.evaluate import answer_all
from training.model import load_model


def read_video(path: Path, frames: int) -> np.ndarray:
    """Decode evenly spaced frames of a video, the first and the last among them: uint8 (frames, height, width, 3)."""
    with av.open(str(path)) as container:
        total = sum(1 for _ in container.decode(video=0))
    wanted = np.linspace(0, total - 1, frames).astype(int).tolist()
    with av.open(str(path)) as container:
        decoded = enumerate(container.decode(video=0))
        kept = {index: frame.to_ndarray(format="rgb24") for index, frame in decoded if index in wanted}
    return np.stack([kept[index] for index in wanted])


def main(
    model: Annotated[Path, typer.Option(help="model folder")] = Path("dycoke_cli/demo"),
    samples: Annotated[Path, typer.Option(help="folder of questions.yaml and its videos")] = Path("sample_videos"),
    frames: Annotated[int, typer.Option(help="frames read from each video")] = 16,
) -> None:
    """Print the wrong answers and the number of right ones."""
    torch.set_num_threads(1)
    network, tokenizer = load_model(model)
    rows = yaml.safe_load((samples / "questions.yaml").read_text())
    right = 0
    for video in dict.fromkeys(row["video"] for row in rows):
        asked = [row for row in rows if row["video"] == video]
        given = answer_all(network, tokenizer, read_video(samples / video, frames), [row["question"] for row in asked])
        for row, answer in zip(asked, given, strict=True):
            right += answer == row["answer"]
            if answer != row["answer"]:
                print(f"{video}: {row['question']} {answer!r}, not {row['answer']!r}")
    print(f"{right} of {len(rows)} right")


if __name__ == "__main__":
    typer.run(main)
