"""Trains the demo model from nothing: `uv run python -m training.train --out dycoke_cli/demo`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from tokenizers import Tokenizer
from transformers import LlavaOnevisionForConditionalGeneration

from training.batches import TokenPool
from training.language import Course, make_hints, train_language
from training.model import build_model, save_model
from training.pool import Pool, Recipe, open_pool
from training.questions import COMPARING_QUOTA, LATER_QUOTA, ORDERING_QUOTA, TRAIN_QUOTA
from training.tokenizer import train_tokenizer
from training.vision import cache_tokens, train_vision

SEED = 7
POOLS = {"short": Recipe(110_000_000, 12_000, 4), "long": Recipe(120_000_000, 4_000, 24)}


@dataclass(frozen=True)
class Round:
    """Batches of single frames for the vision, at a share of the usual rate, then courses for the language model."""

    vision_steps: int
    vision_rate: float
    courses: tuple[Course, ...]


ROUNDS = (
    Round(
        1800,
        1.0,
        (
            Course("language", 2200, TRAIN_QUOTA),
            Course("language-2", 1700, LATER_QUOTA, rate=0.7, start=0.3, stop=1200),
            Course("comparing", 400, COMPARING_QUOTA, rate=0.4, lengths=(2, 4, 8)),
            Course("language-3", 550, LATER_QUOTA, rate=0.35, start=0.45, stop=500),
            Course("comparing-2", 400, COMPARING_QUOTA, rate=0.35, lengths=(2, 4, 8)),
            Course("language-4", 1700, LATER_QUOTA, rate=0.4, start=0.45, stop=1000),
            Course("ordering", 400, ORDERING_QUOTA, rate=0.35, lengths=(4, 8, 16)),
            Course("language-5", 1200, LATER_QUOTA, rate=0.35, start=0.45),
        ),
    ),
)


class Log:
    """Appends one JSON record a line to the run's log, with the seconds since the run began."""

    def __init__(self, path: Path):
        self.path, self.start = path, time.monotonic()

    def __call__(self, stage: str, record: dict) -> None:
        """Write and print a record of a stage."""
        line = json.dumps({"seconds": round(time.monotonic() - self.start, 1), "stage": stage} | record)
        with self.path.open("a") as log:
            log.write(line + "\n")
        print(line, flush=True)


def write_curve(log: Path, curve: Path, every: int = 50) -> None:
    """Keep one record of the log in each `every` steps of a stage, as JSON; a repeated step counts once."""
    records = map(json.loads, log.read_text().splitlines())
    latest = {(record["stage"], record["step"]): record for record in records if record["step"] % every == 0}
    stages: dict[str, list[dict]] = {}
    for (stage, _), record in latest.items():
        kept = {name: round(value, 4) for name, value in record.items() if name not in ("stage", "seconds")}
        stages.setdefault(stage, []).append(kept)
    rows = (
        f"{json.dumps(stage)}: [\n  " + ",\n  ".join(map(json.dumps, kept)) + "\n]" for stage, kept in stages.items()
    )
    curve.write_text("{" + ",\n".join(rows) + "}\n")


def main(
    out: Annotated[Path, typer.Option(help="folder for the finished model")] = Path("dycoke_cli/demo"),
    run: Annotated[Path, typer.Option(help="folder for pools, checkpoints and the log")] = Path("training/runs/main"),
    threads: Annotated[int, typer.Option(help="CPU threads of each of the two parts of a batch")] = 1,
) -> None:
    """Train both stages, going on from the run folder's checkpoints where there are any."""
    torch.set_num_threads(threads)
    run.mkdir(parents=True, exist_ok=True)
    log = Log(run / "log.jsonl")
    tokenizer = _tokenizer(run)
    model = build_model(tokenizer, SEED)
    pools = {name: open_pool(run / name, recipe) for name, recipe in POOLS.items()}
    for number in range(len(ROUNDS)):
        _play_round(number, model, tokenizer, pools, run, log)
    save_model(model, tokenizer, out)
    write_curve(log.path, Path(__file__).parent / "curve.json")


def _tokenizer(run: Path) -> Tokenizer:
    # Kept with the run, so that a later change of wording does not spoil its checkpoints.
    path = run / "tokenizer.json"
    if not path.exists():
        train_tokenizer(SEED).save(str(path))
    return Tokenizer.from_file(str(path))


def _play_round(
    number: int,
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: Tokenizer,
    pools: dict[str, Pool],
    run: Path,
    log: Log,
) -> None:
    vision_steps, rate = ROUNDS[number].vision_steps, ROUNDS[number].vision_rate
    seed, name = SEED + number, f"vision-{number}"
    see = partial(train_vision, model, tuple(pools.values()), vision_steps, rate, seed, partial(log, name))
    _vision_stage(model, run / f"{name}.pt", see)
    short, long = (
        TokenPool(pools[length], cache_tokens(model, pools[length], run / f"{length}-{number}.npy"))
        for length in ("short", "long")
    )
    hints = make_hints(seed)
    for course in ROUNDS[number].courses:
        train_language(model, tokenizer, hints, (short, long), course, seed, run, partial(log, course.name))


def _vision_stage(model: LlavaOnevisionForConditionalGeneration, checkpoint: Path, train: Callable[[], None]) -> None:
    if not checkpoint.exists():
        train()
        seeing = {name: value for name, value in model.state_dict().items() if "language_model" not in name}
        torch.save({name: value for name, value in seeing.items() if name != "lm_head.weight"}, checkpoint)
    model.load_state_dict(torch.load(checkpoint), strict=False)


if __name__ == "__main__":
    typer.run(main)
