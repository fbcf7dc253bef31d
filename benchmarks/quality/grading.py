"""One clip before one arm: answers, how right they are, and how many tokens they took."""

from __future__ import annotations

from typing import Any

import torch

from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.tokens import VisualTokens
from training.answering import answers
from training.exam import Paper
from training.facts import score_description
from training.timeline import Timeline

BRIEF = 3  # frames; what is seen for no longer is a short event


def given_answers(
    model: Llava, method: Method, whole: VisualTokens, questions: list[str]
) -> tuple[list[str], float, float]:
    """Answer questions side by side: the texts, the share of tokens in the prefill, and that read at a decode step.

    Both shares are of all visual tokens; the first is a mean over layers, the second over steps and questions.
    """
    tokens = method.compress(whole)
    texts, steps = answers(model, method, tokens, questions)
    prefill_pruner = method.prefill_pruner()
    entered = len(tokens) / whole.grid.total
    if prefill_pruner is not None:
        layers = model.facts.layers
        left = len(prefill_pruner.choose(torch.rand(len(tokens)))) / whole.grid.total
        entered = (prefill_pruner.layer * entered + (layers - prefill_pruner.layer) * left) / layers
    read = [
        step.selection.index.shape[1] / whole.grid.total
        for step in steps
        for _ in step.rows
        if step.selection is not None
    ]
    return texts, entered, sum(read) / len(read) if read else entered


def grades(clip: Paper, given: list[str]) -> list[dict[str, Any]]:
    """Grade the answers to a clip's questions, each from 0 to 1; descriptions by their facts."""
    graded = []
    for question, text in zip(clip.questions, given, strict=True):
        if question.kind == "describe":
            score = score_description(text, clip.timeline)
            graded += [
                {"kind": "describe: stated facts right", "right": score.right},
                {"kind": "describe: true facts stated", "right": score.told},
                {"kind": "describe: nothing invented", "right": float(not score.invented)},
            ]
        else:
            graded.append({"kind": question.kind, "right": float(text == question.answer)})
    return graded


def event_tokens(timeline: Timeline, owners: torch.Tensor) -> list[torch.Tensor]:
    """Give for each short event the visual tokens that show it, as places in the raster of the video.

    Short is what three frames or fewer show: a thing that flashes up, a colour that a thing takes for a moment.
    owners: (frames, 36), the thing each token shows.
    """
    found = []
    for track in timeline.tracks:
        frames = [frame for frame in range(track.first, track.last + 1) if track.colours[frame] != track.colour]
        if track.first > 0 and track.last < timeline.frames - 1:
            frames = list(range(track.first, track.last + 1))
        if not 0 < len(frames) <= BRIEF or len(frames) == timeline.frames:
            continue
        if track.colours[track.last] != track.colour:
            continue  # it stays as it has become
        shown = torch.zeros_like(owners, dtype=torch.bool)
        shown[frames] = owners[frames] == track.number
        places = torch.nonzero(shown.flatten()).squeeze(1)
        if len(places):
            found.append(places)
    return found
