"""Evaluate a model folder on unseen rendered clips: `uv run python -m training.evaluate`."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Step, Stop, generate, share
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.options import make_method
from dycoke_cli.methods.parsing import parse_options
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.video import encode_compressed
from dycoke_cli.tokens import VisualTokens
from training.facts import score_description
from training.question import Question
from training.questions import KINDS
from training.unseen_clips import UnseenClip, unseen_clip

MAX_NEW_TOKENS = 110  # the longest description
TARGETS = {
    "colour": 0.95,
    "shape": 0.95,
    "exists": 0.95,
    "count": 0.9,
    "position": 0.85,
    "relation": 0.85,
    "motion": 0.8,
    "order": 0.8,
    "change": 0.8,
    "describe: stated facts right": 0.7,
    "describe: nothing invented": 0.8,
}


@dataclass(frozen=True)
class Score:
    """Exact-match accuracy of one kind of question, with two baselines: the commonest answer, and grey frames.

    A kind with a colon is a mean over descriptions, which have no majority baseline.
    """

    kind: str
    number: int
    accuracy: float
    majority: float | None
    no_video: float


def load_model(folder: Path) -> Llava:
    """Load a model folder in float32, as `dycoke ask` does on a CPU."""
    return loading.load(checkpoints.locate(str(folder)), torch.device("cpu"), torch.float32)


@torch.inference_mode()
def answers(
    model: Llava, method: Method, tokens: VisualTokens, questions: Sequence[str]
) -> tuple[list[str], list[Step]]:
    """Answer questions about compressed `tokens` greedily, in one batch; return the texts and the decode steps.

    The video is prefilled once, unless the method prunes tokens in the prefill depending on the question.
    """
    prompts = [model.prompt(tokens, model.question_ids(text, (), 0.0), method.positions) for text in questions]
    buffer = None
    if method.prefill_pruner() is None:
        at = int(prompts[0].visual.max()) + 1
        shared = KVBuffer.empty(model.language_model, 1, at)
        share(model.language_model, prompts[0].split(at)[0], shared)
        buffer = shared.fork(len(prompts), max(map(len, prompts)) + MAX_NEW_TOKENS)
        prompts = [prompt.split(at)[1] for prompt in prompts]
    stop = Stop(model.stop_ids, MAX_NEW_TOKENS)
    steps = list(generate(model.language_model, prompts, method, stop, Sampling(), buffer))
    rows = zip(*(step.tokens for step in steps), strict=True)
    return [model.decode([token for token in row if token is not None]).strip() for row in rows], steps


def answer_all(model: Llava, method: Method, frames: np.ndarray, questions: list[str]) -> list[str]:
    """Answer questions about frames uint8 (frames, height, width, 3)."""
    return answers(model, method, encode_compressed(model, frames, method), questions)[0]


Result = tuple[str, str, float, float]  # true answer, given answer, grades from 0 to 1 with video and with grey frames


def score_clips(
    model: Llava, method: Method, papers: Iterable[UnseenClip]
) -> tuple[list[Score], list[tuple[int, Question, str]]]:
    """Return the score of each kind of question, and (seed, question, given answer) of each wrong answer."""
    results: dict[str, list[Result]] = defaultdict(list)
    wrong = []
    for clip in papers:
        texts = [question.text for question in clip.questions]
        seeing = answer_all(model, method, clip.pixels, texts)
        blind = answer_all(model, method, np.full_like(clip.pixels, 128), texts)
        for question, given, guessed in zip(clip.questions, seeing, blind, strict=True):
            for kind, right, blindly in _grades(clip, question, given, guessed):
                results[kind].append((question.answer, given, right, blindly))
            if given != question.answer:
                wrong.append((clip.seed, question, given))
    order = sorted(results, key=lambda kind: (KINDS.index(kind.partition(":")[0]), kind))
    return [_score(kind, results[kind]) for kind in order], wrong


def _grades(clip: UnseenClip, question: Question, given: str, guessed: str) -> Iterator[tuple[str, float, float]]:
    """Yield (kind, grade of `given`, grade of `guessed`), grades from 0 to 1; guessed: the answer to grey frames."""
    yield question.kind, float(given == question.answer), float(guessed == question.answer)
    if question.kind == "describe":
        one, other = score_description(given, clip.timeline), score_description(guessed, clip.timeline)
        yield "describe: stated facts right", one.precision, other.precision
        yield "describe: true facts stated", one.recall, other.recall
        yield "describe: nothing invented", float(not one.invented), float(not other.invented)


def _score(kind: str, results: list[Result]) -> Score:
    answers, _, right, guessed = zip(*results, strict=True)
    number = len(results)
    commonest = Counter(answers).most_common(1)[0][1]
    majority = None if ":" in kind else commonest / number
    return Score(kind, number, sum(right) / number, majority, sum(guessed) / number)


def main(
    model: Annotated[Path, typer.Option(help="model folder")] = Path("dycoke_cli/demo"),
    clips: Annotated[int, typer.Option(help="unseen clips")] = 300,
    world: Annotated[str, typer.Option(help="test, easy or hard")] = "test",
    frames: Annotated[int, typer.Option(help="frames read from each clip")] = 16,
    method: Annotated[str, typer.Option(help="full drops no token; dycoke compresses")] = "full",
    option: Annotated[list[str] | None, typer.Option(help="an option of the method, as k=0.5")] = None,
    wrong: Annotated[bool, typer.Option(help="list the wrong answers")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Print exact-match accuracy for each kind of question, beside two baselines without video."""
    torch.set_num_threads(1)
    chosen = make_method(method, parse_options(option or []))
    scores, mistakes = score_clips(
        load_model(model), chosen, (unseen_clip(number, frames, world) for number in range(clips))
    )
    if as_json:
        print(json.dumps([vars(score) for score in scores], indent=2))
        return
    table = Table("kind", "n", "accuracy", "target", "majority class", "no video")
    for score in scores:
        target = f"{TARGETS[score.kind]:.2f}" if score.kind in TARGETS else ""
        shares = ("" if share is None else f"{share:.3f}" for share in (score.accuracy, score.majority, score.no_video))
        accuracy, majority, no_video = shares
        table.add_row(score.kind, str(score.number), accuracy, target, majority, no_video)
    console = Console()
    console.print(table)
    for seed, question, given in mistakes if wrong else ():
        console.print(f"{seed} {question.text!r}: {given!r}, not {question.answer!r}")


if __name__ == "__main__":
    typer.run(main)
