"""Many questions behind one compressed video, answered side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Step, Stop, generate, share
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.tokens import VisualTokens

LONGEST = 110  # tokens of a description


@torch.inference_mode()
def answers(
    model: Llava, method: Method, tokens: VisualTokens, questions: Sequence[str]
) -> tuple[list[str], list[Step]]:
    """Answer questions about compressed `tokens` greedily: the texts, and the steps that they came in.

    The video is prefilled once, unless the method drops tokens there by what is asked.
    """
    prompts = [model.prompt(tokens, model.question_ids(text, (), 0.0), method.positions) for text in questions]
    buffer = None
    if method.prefill_pruner() is None:
        at = int(prompts[0].visual.max()) + 1
        shared = KVBuffer.empty(model.language_model, 1, at)
        share(model.language_model, prompts[0].split(at)[0], shared)
        buffer = shared.fork(len(prompts), max(map(len, prompts)) + LONGEST)
        prompts = [prompt.split(at)[1] for prompt in prompts]
    stop = Stop(model.stop_ids, LONGEST)
    steps = list(generate(model.language_model, prompts, method, stop, Sampling(), buffer))
    rows = zip(*(step.tokens for step in steps), strict=True)
    return [model.decode([token for token in row if token is not None]).strip() for row in rows], steps
