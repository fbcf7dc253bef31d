"""A loss that trains single attention heads to attend to the tokens that a name or an answer refers to."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2Model
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from training.name_labels import fitting, name_before
from training.packing import IGNORED, NO_NAME, Pack, packed_mask

# Without this loss, heads attended to the thing asked about so rarely that the model learnt to guess answers.
# The trained heads attend, by layer: from a name to the things it fits; from a name to the name before it; from answer
# tokens to the names in the question; to the basis of the answer; to what the answer states; to the name in the answer.
NAMED_LAYER, BESIDE_LAYER, NAME_LAYER, BASIS_LAYER, STATED_LAYER = 2, 3, 4, 5, 6
HEAD, ANSWER_NAME_HEAD = 0, 2


def attention_loss(
    text: Qwen2Model, states: tuple[Tensor, ...], cache: DynamicCache, pack: Pack, labels: dict[str, Tensor], start: int
) -> tuple[Tensor, dict[str, float]]:
    """Return the negative log share of attention on the target tokens, summed over heads, and that share by head.

    states: inputs of each layer for the pack's tokens, (clips, tokens, width); cache: keys of video and pack;
    labels: "thing" and "frame" of each visual token, (clips, visual); start: position of the first visual token.
    """
    prefix = cache.get_seq_length() - pack.ids.shape[1]
    wanted = {
        "named": (NAMED_LAYER, HEAD, start, fitting(pack, labels["thing"])),
        "beside": (BESIDE_LAYER, HEAD, prefix, name_before(pack)),
        "name": (NAME_LAYER, HEAD, prefix, _names(pack)),
        "basis": (BASIS_LAYER, HEAD, start, _region_mask(pack.attention_targets[:, :, 0], labels)),
        "told": (STATED_LAYER, HEAD, start, _region_mask(pack.attention_targets[:, :, 1], labels)),
        "said": (STATED_LAYER, ANSWER_NAME_HEAD, prefix, _names(pack) & (pack.said == 1)[:, None]),
    }
    loss, report = states[0].new_zeros(()), {}
    for name, (layer, head, first, mask) in wanted.items():
        attention = _attention(text, layer, head, states[layer], cache, pack)[:, :, first : first + mask.shape[-1]]
        found = mask.any(-1)
        right = (attention * mask).sum(-1)[found]
        weights = pack.shares[found]
        loss = loss - (weights * (right + 1e-6).log()).sum() / weights.sum().clamp_min(1e-6)
        if len(right):
            report[f"gaze_{name}"] = right.mean().item()  # metric names as in curve.json
    return loss, report


def _names(pack: Pack) -> Tensor:
    """Mark for each token of an answer the names in its question: bool (clips, tokens, tokens)."""
    same = pack.owners[:, :, None] == pack.owners[:, None, :]
    return same & (pack.targets != IGNORED)[:, :, None] & (pack.named != NO_NAME)[:, None, :]


def _region_mask(regions: Tensor, labels: dict[str, Tensor]) -> Tensor:
    """Mark the visual tokens of regions (clips, tokens, 3), each (thing, first, last): bool (clips, tokens, visual)."""
    thing, first, last = (part[:, :, None] for part in regions.unbind(-1))
    frame = labels["frame"][:, None]
    return (labels["thing"][:, None] == thing) & (thing >= 0) & (frame >= first) & (frame <= last)


def _attention(text: Qwen2Model, number: int, head: int, states: Tensor, cache: DynamicCache, pack: Pack) -> Tensor:
    """Return the attention weights of one head of a layer: (clips, tokens, keys), rows sum to 1."""
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
