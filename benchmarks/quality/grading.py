"""Answer and grade the questions about one clip with one arm, and measure the share of tokens used."""

from __future__ import annotations

from typing import Any

import torch

from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.tokens import VisualTokens
from training.evaluate import answers
from training.facts import score_description
from training.timeline import Timeline
from training.unseen_clips import UnseenClip

BRIEF = 3  # frames; the longest short event


def given_answers(
    model: Llava, method: Method, whole: VisualTokens, questions: list[str]
) -> tuple[list[str], float, float]:
    """Answer questions in a batch; return texts, and the shares of visual tokens prefilled and read at a decode step.

    The first share is a mean over layers, the second over steps and questions.
    """
    tokens = method.compress(whole)
    texts, steps = answers(model, method, tokens, questions)
    prefill_pruner = method.prefill_pruner()
    entered = len(tokens) / whole.grid.total
    if prefill_pruner is not None:
        layers = model.facts.layers
        kept = len(prefill_pruner.choose(torch.rand(len(tokens)))) / whole.grid.total
        entered = (prefill_pruner.layer * entered + (layers - prefill_pruner.layer) * kept) / layers
    read = [
        step.selection.index.shape[1] / whole.grid.total
        for step in steps
        for _ in step.rows
        if step.selection is not None
    ]
    return texts, entered, sum(read) / len(read) if read else entered


def grades(clip: UnseenClip, given: list[str]) -> list[dict[str, Any]]:
    """Grade answers from 0 to 1: exact match, for descriptions precision and recall of facts."""
    graded = []
    for question, text in zip(clip.questions, given, strict=True):
        if question.kind == "describe":
            score = score_description(text, clip.timeline)
            graded += [
                {"kind": "describe: stated facts right", "right": score.precision},
                {"kind": "describe: true facts stated", "right": score.recall},
                {"kind": "describe: nothing invented", "right": float(not score.invented)},
            ]
        else:
            graded.append({"kind": question.kind, "right": float(text == question.answer)})
    return graded


def event_tokens(timeline: Timeline, owners: torch.Tensor) -> list[torch.Tensor]:
    """Return the visual tokens of each short event, as indices into the raster of the video, (tokens,) int64.

    A short event lasts at most BRIEF frames: a thing flashes up, or takes another colour and turns back.
    owners: (frames, 36), the number of the thing in each token, -1 for the background.
    """
    found = []
    for track in timeline.tracks:
        frames = [frame for frame in range(track.first, track.last + 1) if track.colours[frame] != track.colour]
        if track.first > 0 and track.last < timeline.frames - 1:
            frames = list(range(track.first, track.last + 1))
        if not 0 < len(frames) <= BRIEF or len(frames) == timeline.frames:
            continue
        if track.colours[track.last] != track.colour:
            continue  # the colour change is permanent
        shown = torch.zeros_like(owners, dtype=torch.bool)
        shown[frames] = owners[frames] == track.number
        places = torch.nonzero(shown.flatten()).squeeze(1)
        if len(places):
            found.append(places)
    return found
