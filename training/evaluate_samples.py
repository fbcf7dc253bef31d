"""Evaluate a model folder on the questions of the sample videos: `uv run python -m training.evaluate_samples`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
import yaml

from dycoke_cli.methods.options import make_method
from dycoke_cli.video.reader import VideoReader
from dycoke_cli.video.sampling import Sampling
from training.evaluate import answer_all, load_model


def main(
    model: Annotated[Path, typer.Option(help="model folder")] = Path("dycoke_cli/demo"),
    samples: Annotated[Path, typer.Option(help="folder of questions.yaml and its videos")] = Path("sample_videos"),
    frames: Annotated[int, typer.Option(help="frames read from each video")] = 16,
    method: Annotated[str, typer.Option(help="full drops no token; dycoke compresses")] = "full",
) -> None:
    """Print the wrong answers and the number of correct ones."""
    torch.set_num_threads(1)
    network, chosen = load_model(model), make_method(method, {})
    rows = yaml.safe_load((samples / "questions.yaml").read_text())
    right = 0
    with VideoReader() as reader:
        for video in dict.fromkeys(row["video"] for row in rows):
            pixels = reader.submit(samples / video, Sampling(frames=frames)).result().pixels
            asked = [row for row in rows if row["video"] == video]
            given = answer_all(network, chosen, pixels, [row["question"] for row in asked])
            for row, answer in zip(asked, given, strict=True):
                right += answer == row["answer"]
                if answer != row["answer"]:
                    print(f"{video}: {row['question']} {answer!r}, not {row['answer']!r}")
    print(f"{right} of {len(rows)} right")


if __name__ == "__main__":
    typer.run(main)
