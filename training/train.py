"""Train the demo model from scratch: `uv run python -m training.train --out dycoke_cli/demo`."""

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
from training.language import Phase, make_auxiliary_heads, train_language
from training.model import build_model, save_model
from training.pool import Pool, Recipe, open_pool
from training.questions import COMPARING_QUOTA, LATER_QUOTA, ORDERING_QUOTA, TRAIN_QUOTA
from training.tokenizer import train_tokenizer
from training.vision import cache_tokens, train_vision

SEED = 7
POOLS = {"short": Recipe(110_000_000, 12_000, 4), "long": Recipe(120_000_000, 4_000, 24)}


@dataclass(frozen=True)
class Round:
    """Steps of stage 1 (vision) with a factor of its learning rates, then the phases of stage 2 (language)."""

    vision_steps: int
    vision_rate: float
    phases: tuple[Phase, ...]


ROUNDS = (
    Round(
        1800,
        1.0,
        (
            Phase("language", 2200, TRAIN_QUOTA),
            Phase("language-2", 1700, LATER_QUOTA, rate=0.7, start=0.3, stop=1200),
            Phase("comparing", 400, COMPARING_QUOTA, rate=0.4, lengths=(2, 4, 8)),
            Phase("language-3", 550, LATER_QUOTA, rate=0.35, start=0.45, stop=500),
            Phase("comparing-2", 400, COMPARING_QUOTA, rate=0.35, lengths=(2, 4, 8)),
            Phase("language-4", 1700, LATER_QUOTA, rate=0.4, start=0.45, stop=1000),
            Phase("ordering", 400, ORDERING_QUOTA, rate=0.35, lengths=(4, 8, 16)),
            Phase("language-5", 1200, LATER_QUOTA, rate=0.35, start=0.45),
        ),
    ),
)


class Log:
    """The run's log: JSON Lines with the seconds since the start of the process."""

    def __init__(self, path: Path):
        self.path, self.start = path, time.monotonic()

    def __call__(self, stage: str, record: dict) -> None:
        """Append and print a record of a stage."""
        line = json.dumps({"seconds": round(time.monotonic() - self.start, 1), "stage": stage} | record)
        with self.path.open("a") as log:
            log.write(line + "\n")
        print(line, flush=True)


def write_curve(log: Path, curve: Path, every: int = 50) -> None:
    """Write one record of the log for every `every` steps of a stage as JSON; of a repeated step the last."""
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
    """Train both stages, resuming from the checkpoints in the run folder."""
    torch.set_num_threads(threads)
    run.mkdir(parents=True, exist_ok=True)
    log = Log(run / "log.jsonl")
    tokenizer = _tokenizer(run)
    model = build_model(tokenizer, SEED)
    pools = {name: open_pool(run / name, recipe) for name, recipe in POOLS.items()}
    for number in range(len(ROUNDS)):
        _run_round(number, model, tokenizer, pools, run, log)
    save_model(model, tokenizer, out)
    write_curve(log.path, Path(__file__).parent / "curve.json")


def _tokenizer(run: Path) -> Tokenizer:
    # Stored with the run, so that later changes of the questions do not invalidate its checkpoints.
    path = run / "tokenizer.json"
    if not path.exists():
        train_tokenizer(SEED).save(str(path))
    return Tokenizer.from_file(str(path))


def _run_round(
    number: int,
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: Tokenizer,
    pools: dict[str, Pool],
    run: Path,
    log: Log,
) -> None:
    vision_steps, rate = ROUNDS[number].vision_steps, ROUNDS[number].vision_rate
    seed, name = SEED + number, f"vision-{number}"
    train = partial(train_vision, model, tuple(pools.values()), vision_steps, rate, seed, partial(log, name))
    _vision_stage(model, run / f"{name}.pt", train)
    short, long = (
        TokenPool(pools[length], cache_tokens(model, pools[length], run / f"{length}-{number}.npy"))
        for length in ("short", "long")
    )
    auxiliary = make_auxiliary_heads(seed)
    for phase in ROUNDS[number].phases:
        train_language(model, tokenizer, auxiliary, (short, long), phase, seed, run, partial(log, phase.name))


def _vision_stage(model: LlavaOnevisionForConditionalGeneration, checkpoint: Path, train: Callable[[], None]) -> None:
    if not checkpoint.exists():
        train()
        weights = {name: value for name, value in model.state_dict().items() if "language_model" not in name}
        torch.save({name: value for name, value in weights.items() if name != "lm_head.weight"}, checkpoint)
    model.load_state_dict(torch.load(checkpoint), strict=False)


if __name__ == "__main__":
    typer.run(main)
