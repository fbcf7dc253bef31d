"""Slow reference of compression: attention masks over the uncompressed prompt, in transformers' own eager layers.

Positions are the uncompressed prompt's, or consecutive for a method that packs them. Dropped tokens are computed and
masked in attention; DeepStack features are added to all tokens, dropped ones included.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family
from dycoke_cli.tokens import Prompt


class Masked(NamedTuple):
    logits: Tensor  # (steps, vocabulary)
    scores: list[Tensor]  # per decode step: (kept,) attention to the kept tokens, mean over heads
    active: list[set[int]]  # per decode step: the tokens read, as indices of the kept tokens


@torch.inference_mode()
def masked_run(family: Family, whole: Prompt, kept: Tensor, method: Method, answer: list[int]) -> Masked:
    """Run prompt and answer in one forward pass. kept: (kept,) indices of the kept visual tokens of `whole`."""
    model, body = family.language_model, family.language_model.body
    length, given = len(whole), torch.tensor(answer[:-1], dtype=torch.int64)
    hidden = torch.cat([whole.embeds, body.embed_tokens(given)])[None]
    present = torch.ones(length, dtype=torch.bool)
    present[whole.visual] = False
    present[whole.visual[kept]] = True
    positions = _positions(whole, present, method.positions, len(given))
    rotary = body.rotary_emb(hidden, positions)
    readable = torch.ones(hidden.shape[1], hidden.shape[1]).tril().bool()
    readable[:, :length] &= present
    selector, columns = method.selector(torch.tensor([len(kept)])), whole.visual[kept]
    scores: list[Tensor] = []
    active: list[set[int]] = []
    for layer in range(model.layers):
        if selector is not None and layer == selector.prune_from:
            active = _active(scores, method)
            for step, chosen in enumerate(active):
                idle = [number for number in range(len(kept)) if number not in chosen]
                readable[length + step, columns[idle]] = False
        hidden, weights = _layer(body.layers[layer], hidden, readable, positions, rotary)
        if selector is not None and layer == selector.score_layer:
            scores = [row[columns] for row in weights.mean(dim=0)[length:]]
        if whole.deepstack is not None and layer < whole.deepstack.shape[1]:
            hidden[0, whole.visual] += whole.deepstack[:, layer]
    logits: Tensor = model.head(body.norm(hidden))[0, length - 1 :]
    return Masked(logits, scores, active)


@torch.inference_mode()
def pruned_logits(family: Family, whole: Prompt, cut: int, kept: Tensor) -> Tensor:
    """Return the first logits (vocabulary,) if layers from `cut` on read only the visual tokens `kept` of a prompt."""
    body, hidden = family.language_model.body, whole.embeds[None]
    positions = _positions(whole, torch.ones(len(whole), dtype=torch.bool), "original", 0)
    rotary = body.rotary_emb(hidden, positions)
    readable = torch.ones(len(whole), len(whole)).tril().bool()
    dropped = torch.ones(len(whole.visual), dtype=torch.bool).index_fill_(0, kept, False)
    for layer in range(len(body.layers)):
        if layer == cut:
            readable[:, whole.visual[dropped]] = False
        hidden, _ = _layer(body.layers[layer], hidden, readable, positions, rotary)
        if whole.deepstack is not None and layer < whole.deepstack.shape[1]:
            hidden[0, whole.visual] += whole.deepstack[:, layer]
    logits: Tensor = family.language_model.head(body.norm(hidden))[0, -1]
    return logits


def _positions(whole: Prompt, present: Tensor, policy: str, new: int) -> Tensor:
    """Return the rotary positions of prompt and answer: (1, all), or (3, 1, all)."""
    if whole.positions.dim() == 2:
        after = (whole.next_position + torch.arange(new))[:, None].expand(-1, 3)
        return torch.cat([whole.positions, after]).T[:, None]
    numbers = present.cumsum(0) - 1 if policy == "packed" else whole.positions
    return torch.cat([numbers, int(numbers.max()) + 1 + torch.arange(new)])[None]


def _layer(layer: torch.nn.Module, hidden: Tensor, readable: Tensor, positions: Tensor, rotary: Tensor) -> tuple:
    """Run one stock layer with eager attention; return hidden states and attention weights (heads, all, all)."""
    mask = torch.zeros(readable.shape).masked_fill(~readable, float("-inf"))
    mask.fill_diagonal_(0)  # a dropped row needs one key, or its softmax is undefined; its output is never read
    config, weights = layer.self_attn.config, []
    before, config._attn_implementation = config._attn_implementation, "eager"
    hook = layer.self_attn.register_forward_hook(lambda module, args, out: weights.append(out[1][0]))
    try:
        out = layer(hidden, attention_mask=mask[None, None], position_ids=positions, position_embeddings=rotary)
    finally:
        hook.remove()
        config._attn_implementation = before
    return out, weights[0]


def _active(scores: list[Tensor], method: Method) -> list[set[int]]:
    """Select the most attended tokens per step; reselect if attention differs from that of the last selection."""
    p, gate = (method.options().get(name) for name in ("p", "gate"))
    chosen: list[set[int]] = []
    reference = None
    for row in scores:
        if reference is None or float(F.cosine_similarity(row, reference, dim=0)) < gate:
            count = max(1, math.floor((1 - p) * len(row) + 0.5))
            chosen.append(set(row.topk(count).indices.tolist()))
            reference = row
        else:
            chosen.append(chosen[-1])
    return chosen
