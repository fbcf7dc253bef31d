"""Evaluate every arm on one clip; worker processes run this, each with its own model."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.quality.arms import all_arms, first_stages
from benchmarks.quality.grading import event_tokens, given_answers, grades
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.models.families.llava import Llava
from training.unseen_clips import unseen_clip

FRAMES = 16
# Two questions of each temporal kind, which compression affects most.
QUOTA = {
    "colour": 1, "shape": 1, "exists": 1, "count": 1, "position": 1, "relation": 1,
    "motion": 2, "order": 2, "change": 2, "event": 2, "describe": 1,
}  # fmt: skip

_model: list[Llava] = []  # the model of this worker process, once loaded


def load() -> None:
    """Load the demo model into this worker process."""
    torch.set_num_threads(1)
    _model.append(loading.load(checkpoints.locate("demo"), torch.device("cpu"), torch.float32))


@torch.inference_mode()
def evaluate_clip(job: tuple[str, int]) -> dict[str, Any]:
    """Return one clip's grades and token shares by arm, and the share of short events' tokens that each arm keeps."""
    (world, number), (model,) = job, _model
    clip = unseen_clip(number, FRAMES, world, QUOTA)
    whole = model.encode(clip.pixels, saliency=True)
    texts = [question.text for question in clip.questions]
    asked = []
    for arm in all_arms(model.facts, whole.grid):
        given, prefill, read = given_answers(model, arm.method(model.facts, whole.grid), whole, texts)
        asked.append(
            {"arm": arm.label, "seed": arm.seed, "prefill": prefill, "read": read, "grades": grades(clip, given)}
        )
    brief = event_tokens(clip.timeline, torch.from_numpy(clip.owners))
    survived = []
    for arm in first_stages(model.facts, whole.grid) if brief else ():
        kept = torch.zeros(whole.grid.total, dtype=torch.bool)
        kept[arm.method(model.facts, whole.grid).compress(whole).index] = True
        survived.append({"arm": arm.label, "events": [kept[places].float().mean().item() for places in brief]})
    return {"world": world, "clip": number, "asked": asked, "survived": survived}
