"""Scores a model folder on unseen rendered clips: `uv run python -m training.evaluate`."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from dycoke_cli import checkpoints
from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.families.llava import Llava
from dycoke_cli.methods import Method
from dycoke_cli.methods.options import make_method
from dycoke_cli.settings import parse_options
from training.questions import KINDS, Question, clip_with_questions

FIRST_TEST_SEED = 90_000_000
TARGETS = {"colour": 0.90, "shape": 0.95, "exists": 0.95, "count": 0.85}
LONGEST = 48


@dataclass(frozen=True)
class Score:
    """Exact-match shares of one kind of question, and of two ways to answer without looking."""

    kind: str
    number: int
    accuracy: float
    majority: float
    no_video: float


def load_model(folder: Path) -> Llava:
    """Load a model folder in float32, as `dycoke ask` does on a CPU."""
    return checkpoints.load(checkpoints.locate(str(folder)), torch.device("cpu"), torch.float32)


@torch.inference_mode()
def answer_all(model: Llava, method: Method, frames: np.ndarray, questions: list[str]) -> list[str]:
    """Answer questions about frames uint8 (frames, height, width, 3) greedily, in one batch."""
    tokens = method.compress(model.encode(frames, saliency=method.needs_saliency))
    prompts = [model.prompt(tokens, model.question_ids(text, (), 0.0), method.positions) for text in questions]
    steps = list(generate(model.language_model, prompts, method, Stop(model.stop_ids, LONGEST), Sampling()))
    rows = zip(*(step.tokens for step in steps), strict=True)
    return [model.decode([token for token in row if token is not None]).strip() for row in rows]


def score_clips(
    model: Llava, method: Method, clips: int, frames: int
) -> tuple[list[Score], list[tuple[int, Question, str]]]:
    """Ask about `clips` unseen clips: the score of each kind, and (seed, question, given) of each wrong answer."""
    results: dict[str, list[tuple[str, bool, bool]]] = defaultdict(list)
    wrong = []
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + clips):
        pixels, questions = clip_with_questions(seed, frames)
        texts = [question.text for question in questions]
        seeing = answer_all(model, method, pixels, texts)
        blind = answer_all(model, method, np.full_like(pixels, 128), texts)
        for question, given, guessed in zip(questions, seeing, blind, strict=True):
            results[question.kind].append((question.answer, given == question.answer, guessed == question.answer))
            if given != question.answer:
                wrong.append((seed, question, given))
    return [_score(kind, results[kind]) for kind in KINDS if results[kind]], wrong


def _score(kind: str, results: list[tuple[str, bool, bool]]) -> Score:
    answers, right, guessed = zip(*results, strict=True)
    number = len(results)
    commonest = Counter(answers).most_common(1)[0][1]
    return Score(kind, number, sum(right) / number, commonest / number, sum(guessed) / number)


def main(
    model: Annotated[Path, typer.Option(help="model folder")] = Path("dycoke_cli/demo"),
    clips: Annotated[int, typer.Option(help="unseen clips")] = 150,
    frames: Annotated[int, typer.Option(help="frames read from each clip")] = 16,
    method: Annotated[str, typer.Option(help="full drops no token; dycoke compresses")] = "full",
    option: Annotated[list[str] | None, typer.Option(help="an option of the method, as k=0.5")] = None,
    wrong: Annotated[bool, typer.Option(help="list the wrong answers")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Print exact-match accuracy for each kind of question, beside two baselines that see nothing."""
    torch.set_num_threads(1)
    chosen = make_method(method, parse_options(option or []))
    scores, mistakes = score_clips(load_model(model), chosen, clips, frames)
    if as_json:
        print(json.dumps([vars(score) for score in scores], indent=2))
        return
    table = Table("kind", "n", "accuracy", "target", "majority class", "no video")
    for score in scores:
        target = f"{TARGETS[score.kind]:.2f}" if score.kind in TARGETS else ""
        shares = (f"{share:.3f}" for share in (score.accuracy, score.majority, score.no_video))
        accuracy, majority, no_video = shares
        table.add_row(score.kind, str(score.number), accuracy, target, majority, no_video)
    console = Console()
    console.print(table)
    for seed, question, given in mistakes if wrong else ():
        console.print(f"{seed} {question.text!r}: {given!r}, not {question.answer!r}")


if __name__ == "__main__":
    typer.run(main)
