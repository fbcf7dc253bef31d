"""Teaches two layers where to look while an answer is given, as a finger on the picture would."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2Model
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from training.naming import fitting, name_before
from training.packing import IGNORED, NO_NAME, Pack, packed_mask

# Left to themselves, attention heads found the thing that is asked about so rarely that answers were learnt as guesses.
# So one head of a layer is shown what a name in the question names, one of the next the name before it, one of a later
# layer where the names are, and, deeper, one what must be known first, one what is told, and beside that one the name
# that the answer says.
NAMED_LAYER, BESIDE_LAYER, NAME_LAYER, BASIS_LAYER, TOLD_LAYER = 2, 3, 4, 5, 6
HEAD, SAID_HEAD = 0, 2


def gaze_loss(
    text: Qwen2Model, states: tuple[Tensor, ...], cache: DynamicCache, pack: Pack, labels: dict[str, Tensor], start: int
) -> tuple[Tensor, dict[str, float]]:
    """Compare where the heads look while answering with where the answers are to be seen.

    states: those that go into each layer, of the pack's tokens (clips, tokens, width); cache: keys of everything;
    labels: "thing" and "frame" of each visual token, (clips, visual); start: the first visual token's place.
    Returns the loss, and for each head how much of their attention is where it should be.
    """
    prefix = cache.get_seq_length() - pack.ids.shape[1]
    wanted = {
        "named": (NAMED_LAYER, HEAD, start, fitting(pack, labels["thing"])),
        "beside": (BESIDE_LAYER, HEAD, prefix, name_before(pack)),
        "name": (NAME_LAYER, HEAD, prefix, _names(pack)),
        "basis": (BASIS_LAYER, HEAD, start, _wanted(pack.gazes[:, :, 0], labels)),
        "told": (TOLD_LAYER, HEAD, start, _wanted(pack.gazes[:, :, 1], labels)),
        "said": (TOLD_LAYER, SAID_HEAD, prefix, _names(pack) & (pack.said == 1)[:, None]),
    }
    loss, report = states[0].new_zeros(()), {}
    for name, (layer, head, first, look) in wanted.items():
        seen = _attention(text, layer, head, states[layer], cache, pack)[:, :, first : first + look.shape[-1]]
        found = look.any(-1)
        right = (seen * look).sum(-1)[found]
        weights = pack.shares[found]
        loss = loss - (weights * (right + 1e-6).log()).sum() / weights.sum().clamp_min(1e-6)
        if len(right):
            report[f"gaze_{name}"] = right.mean().item()
    return loss, report


def _names(pack: Pack) -> Tensor:
    """Mark for each token of an answer the names in its question: bool (clips, tokens, tokens)."""
    same = pack.owners[:, :, None] == pack.owners[:, None, :]
    return same & (pack.targets != IGNORED)[:, :, None] & (pack.named != NO_NAME)[:, None, :]


def _wanted(gazes: Tensor, labels: dict[str, Tensor]) -> Tensor:
    """Mark the visual tokens to look at: bool (clips, tokens, visual) from gazes (clips, tokens, 3)."""
    thing, first, last = (part[:, :, None] for part in gazes.unbind(-1))
    frame = labels["frame"][:, None]
    return (labels["thing"][:, None] == thing) & (thing >= 0) & (frame >= first) & (frame <= last)


def _attention(text: Qwen2Model, number: int, head: int, states: Tensor, cache: DynamicCache, pack: Pack) -> Tensor:
    """Give what one head of a layer looks at: (clips, tokens, keys), rows summing to 1."""
    layer = text.layers[number]
    keys = cache.layers[number].keys
    prefix = keys.shape[-2] - pack.ids.shape[1]
    normed = layer.input_layernorm(states)
    size = keys.shape[-1]
    queries = layer.self_attn.q_proj(normed)[..., head * size : (head + 1) * size][:, None]
    cos, sin = text.rotary_emb(normed, pack.offsets + prefix)
    queries, _ = apply_rotary_pos_emb(queries, queries, cos, sin)
    group = head // (text.config.num_attention_heads // text.config.num_key_value_heads)
    scores = queries[:, 0] @ keys[:, group].mT * layer.self_attn.scaling
    return torch.softmax(scores + packed_mask(pack.owners, prefix)[:, 0], dim=-1)
