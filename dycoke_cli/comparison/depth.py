"""Count the visual tokens and keys that each layer processes under a method, and the FLOPs of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.flops import TextShape, paper_flops, true_flops
from dycoke_cli.session.answer import Answer


class Depth(NamedTuple):
    """The first layers that process fewer visual tokens; the number of layers where none does."""

    cut: int  # first layer that computes and caches only the tokens kept by the prefill pruner
    prune_from: int  # first layer that reads only the active tokens at a decode step

    @classmethod
    def of(cls, method: Method, layers: int) -> "Depth":
        """Read both layers from a method whose `check` accepted the network."""
        prefill_pruner, selector = method.prefill_pruner(), method.selector(torch.ones(1, dtype=torch.int64))
        return cls(prefill_pruner.layer if prefill_pruner else layers, selector.prune_from if selector else layers)


@dataclass(frozen=True)
class Computed:
    """FLOPs of one answer, computed from counted lengths: see `models.flops`."""

    flops_paper: float
    flops_true: int


def computed(answer: Answer, shape: TextShape, depth: Depth) -> Computed:
    """Compute the FLOPs of an answer to a single question."""
    others = answer.tokens.text + answer.tokens.newline
    # The prefill step reads the tokens that remain after its cut.
    visual = visual_by_layer(answer.tokens.visual_prefill, answer.steps[0].read, shape.layers, depth)
    read = [step.read for step in answer.steps[1:]]
    decode = sum(read) / len(read) if read else 0.0
    return Computed(
        paper_flops(shape, visual, decode, answer.tokens.generated),
        true_flops(shape, [count + others for count in visual], keys_by_step(read, visual, others, depth)),
    )


def visual_by_layer(entered: int, kept: int, layers: int, depth: Depth) -> list[int]:
    """Return the number of visual tokens in each layer of the prefill, fewer from `depth.cut` on: (layers,)."""
    return [entered if layer < depth.cut else kept for layer in range(layers)]


def keys_by_step(read: Sequence[int], visual: Sequence[int], others: int, depth: Depth) -> list[list[int]]:
    """Return the number of keys that the new token of each decode step attends to, itself included: (steps, layers).

    read: visual keys of the pruned layers at each step; visual: visual keys that each layer caches; others: the rest of
    the prompt.
    """
    return [
        [others + number + (count if layer >= depth.prune_from else stored) for layer, stored in enumerate(visual)]
        for number, count in enumerate(read, start=1)
    ]
