"""DeepStack: add features of several vision tower layers to the visual tokens inside the language model.

Source: Meng et al., "DeepStack: Deeply Stacking Visual Tokens is Surprisingly Simple and Effective for LMMs",
arXiv 2406.04334; here as in Qwen3-VL: level i is added after decoder layer i.
"""

from typing import Any

import torch
from torch import Tensor

from dycoke_cli.tokens import Prompt


def stock_arguments(prompts: list[Prompt], slots: range) -> dict[str, Any]:
    """Return the arguments with which the stock text model adds the features, for a chunk of slots of padded prompts.

    Empty for prompts without DeepStack features, as other models do not accept the arguments.
    """
    if prompts[0].deepstack is None:
        return {}
    mask = torch.zeros(len(prompts), slots.stop, dtype=torch.bool, device=prompts[0].embeds.device)
    rows = []
    for row, prompt in enumerate(prompts):
        assert prompt.deepstack is not None  # all prompts are of one model
        in_chunk = (prompt.visual >= slots.start) & (prompt.visual < slots.stop)
        visual = prompt.visual[in_chunk]
        mask[row, visual] = True
        rows.append(prompt.deepstack[in_chunk][visual.argsort()])  # the stock model expects prompt order
    return {
        "visual_pos_masks": mask[:, slots.start :],
        "deepstack_visual_embeds": list(torch.cat(rows).unbind(dim=1)),
    }


def add_features(hidden: Tensor, prompts: list[Prompt], layer: int) -> None:
    """Add each prompt's features of level `layer`, if any, to `hidden` (batch, new, hidden) in place."""
    for row, prompt in enumerate(prompts):
        if prompt.deepstack is not None and layer < prompt.deepstack.shape[1]:
            hidden[row, prompt.visual] += prompt.deepstack[:, layer]
