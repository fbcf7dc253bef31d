"""Scores a model folder on unseen rendered clips: `uv run python -m training.evaluate`."""

from __future__ import annotations

import copy
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
from tokenizers import Tokenizer
from transformers import DynamicCache, LlavaOnevisionForConditionalGeneration

from training.frames import normalise, squash
from training.model import frame_tokens, load_model
from training.packing import read_video
from training.questions import KINDS, Question, clip_with_questions
from training.tokenizer import END, question_ids

FIRST_TEST_SEED = 90_000_000
TARGETS = {"colour": 0.90, "shape": 0.95, "exists": 0.95, "count": 0.85}


@dataclass(frozen=True)
class Score:
    """Exact-match shares of one kind of question, and of two ways to answer without looking."""

    kind: str
    number: int
    accuracy: float
    majority: float
    no_video: float


@torch.no_grad()
def answer_all(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, frames: np.ndarray, questions: list[str]
) -> list[str]:
    """Answer questions about frames uint8 (frames, height, width, 3) greedily, the video read once."""
    tokens = frame_tokens(model, normalise(squash(frames))).flatten(0, 1)[None]
    cache = read_video(model, tokenizer, tokens)
    return [_answer(model, tokenizer, cache, question) for question in questions]


def _answer(
    model: LlavaOnevisionForConditionalGeneration,
    tokenizer: Tokenizer,
    cache: DynamicCache,
    question: str,
    longest: int = 48,
) -> str:
    cache, end = copy.deepcopy(cache), tokenizer.token_to_id(END)
    ids, answer = torch.tensor([question_ids(tokenizer, question)]), []
    while len(answer) < longest:
        states = model.model.language_model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
        token = int(model.lm_head(states[0, -1]).argmax())
        if token == end:
            break
        answer.append(token)
        ids = torch.tensor([[token]])
    return tokenizer.decode(answer)


def score_clips(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: Tokenizer, clips: int, frames: int
) -> tuple[list[Score], list[tuple[int, Question, str]]]:
    """Ask about `clips` unseen clips: the score of each kind, and (seed, question, given) of each wrong answer."""
    results: dict[str, list[tuple[str, bool, bool]]] = defaultdict(list)
    wrong = []
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + clips):
        pixels, questions = clip_with_questions(seed, frames)
        texts = [question.text for question in questions]
        seeing = answer_all(model, tokenizer, pixels, texts)
        blind = answer_all(model, tokenizer, np.full_like(pixels, 128), texts)
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
    wrong: Annotated[bool, typer.Option(help="list the wrong answers")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Print exact-match accuracy for each kind of question, beside two baselines that see nothing."""
    torch.set_num_threads(1)
    network, tokenizer = load_model(model)
    scores, mistakes = score_clips(network, tokenizer, clips, frames)
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
