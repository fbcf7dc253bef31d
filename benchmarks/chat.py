"""Time to the first token of the first and second turn of a chat, on a mid-size model with random weights.

    uv run python -m benchmarks.chat [--frames 32] [--turns 3] [--device cuda]

The model is that of `benchmarks.memory`, with the demo's tokenizer. The first turn includes vision tower, first stage
and prefill of the video; the frames are noise, so no file is decoded. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from benchmarks.memory import MID, mid_size_model
from dycoke_cli.config.settings import Settings
from dycoke_cli.methods.dycoke import Dycoke
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.names import DEMO
from dycoke_cli.session.conversation import Conversation, Spent
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.frames import Frames, VideoInfo

SILENT = Callbacks()
QUESTIONS = ("what happens in the video?", "what colour is it?")


def turns(session: Session) -> list[float]:
    """Return the seconds to the first token of each of two turns."""
    session.watch.restart()
    encoded = session.encode(SILENT)
    chat = Conversation(session, encoded, Spent(0.0, session.watch.lap()))
    return [chat.ask(question, SILENT).answer.time_s.first_token for question in QUESTIONS]


def main() -> None:
    """Measure the turns of each method several times, alternating between methods; print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    words = PreTrainedTokenizerFast.from_pretrained(DEMO, local_files_only=True)
    model = replace(mid_size_model(torch.device(arguments.device), MID), tokenizer=words)
    count = arguments.frames
    pixels = np.random.default_rng(0).integers(0, 256, (count, 384, 384, 3), dtype=np.uint8)
    info = VideoInfo("noise", float(count), 1.0, count, 384, 384, "none", "made here")
    frames = Frames(pixels, tuple(range(count)), tuple(map(float, range(count))), info)
    clip = Video.of(frames)
    methods: list[Method] = [Full(), Dycoke()]
    measured: dict[str, list[list[float]]] = {method.name: [] for method in methods}
    for repeat in range(arguments.turns + 1):
        for method in methods:
            seconds = turns(Session(model, clip, method, Settings(max_new_tokens=4)))
            if repeat:  # the first round warms up
                measured[method.name].append(seconds)
    record = {}
    for name, rows in measured.items():
        first, second = (median(column) for column in zip(*rows, strict=True))
        ratio = median(row[1] / row[0] for row in rows)
        record[name] = {"first_turn_s": first, "second_turn_s": second, "ratio": ratio}
        print(f"{name:8} first turn {first:8.3f} s   second turn {second:8.3f} s   ratio {ratio:.4f}")
    print(json.dumps({"frames": count, "repeats": arguments.turns, "first_token": record}))


if __name__ == "__main__":
    main()
