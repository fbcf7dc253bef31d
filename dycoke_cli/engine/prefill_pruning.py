"""Prefill with pruning: later layers compute and store only the visual tokens that the method keeps.

The layers run in two parts, and the dropped tokens are removed in between instead of masked, so that they are not
computed.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.deepstack import DeepStack
from dycoke_cli.engine.prefill import PrefillAttention, at_rows, stack_prompts
from dycoke_cli.methods.protocol import PrefillPruner
from dycoke_cli.system.device import upload
from dycoke_cli.tokens import Prompt


class PrunedPrefill(NamedTuple):
    """The visual tokens that layers from `layer` on keep."""

    layer: int
    kept: tuple[Tensor, ...]  # (kept,) int64 per row, indices into its prompt's visual tokens


class ScoredAttention(PrefillAttention):
    """Attention of prompts in an empty buffer that records the attention of each one's last position at one layer."""

    def __init__(self, buffer: KVBuffer, prompts: list[Prompt], layer: int) -> None:
        super().__init__(buffer, max(map(len, prompts)))
        self.layer = layer
        self.last = upload([len(prompt) - 1 for prompt in prompts], buffer.store.device)
        self.row: Tensor | None = None  # (batch, length) float32, see `attention_row`

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """Compute causal attention, and record the last positions' attention at `self.layer`."""
        if layer == self.layer:
            keys, _ = self.buffer.read(layer, self.new)
            last = self.last.to(query.device)
            newest = query[torch.arange(len(last), device=query.device), last][:, None]
            mask = torch.arange(self.new, device=query.device) <= last[:, None]
            self.row = attention_row(newest, keys, mask[:, None, None]).to(self.last.device)
        return super().attend(layer, query)


def pruned_prefill(
    decoder: Decoder, prompts: list[Prompt], prefill_pruner: PrefillPruner, room: int
) -> tuple[Tensor, list[KVBuffer], list[Tensor], PrunedPrefill]:
    """Prefill prompts, dropping visual tokens before layer `prefill_pruner.layer`.

    room: maximum number of generated tokens. Returns the logits of each prompt's last position (batch, vocabulary); one
    buffer for the layers before the cut and one for those from it on; per row the slots of the visual tokens in the
    latter; and the kept tokens.
    """
    shallow, reduced, pruned = _run_until_cut(decoder, prompts, prefill_pruner, room)
    rows, new, layers = len(reduced), max(map(len, reduced)), decoder.model.layers
    deep = KVBuffer.empty(decoder.model, rows, new + room, range(prefill_pruner.layer, layers))
    hidden = _run_layers(decoder, reduced, PrefillAttention(deep, new))
    logits = decoder.logits(at_rows(hidden, [len(prompt) - 1 for prompt in reduced]))[:, 0]
    return logits, [shallow, deep], [prompt.visual for prompt in reduced], pruned


def _run_until_cut(
    decoder: Decoder, prompts: list[Prompt], prefill_pruner: PrefillPruner, room: int
) -> tuple[KVBuffer, list[Prompt], PrunedPrefill]:
    """Run the layers before the cut. Return their buffer, prompts of the kept hidden states, and the kept tokens."""
    cut = prefill_pruner.layer
    buffer = KVBuffer.empty(decoder.model, len(prompts), max(map(len, prompts)) + room, range(cut))
    scored = ScoredAttention(buffer, prompts, cut - 1)
    hidden = _run_layers(decoder, prompts, scored)
    assert scored.row is not None
    kept = tuple(prefill_pruner.choose(row[prompt.visual]) for prompt, row in zip(prompts, scored.row, strict=True))
    reduced = [
        replace(prompt, embeds=states[: len(prompt)]).only(chosen)
        for prompt, states, chosen in zip(prompts, hidden, kept, strict=True)
    ]
    return buffer, reduced, PrunedPrefill(cut, kept)


def _run_layers(decoder: Decoder, prompts: list[Prompt], attention: PrefillAttention) -> Tensor:
    """Run only the layers that the attention's buffer stores. Returns (batch, length, hidden)."""
    hidden, positions = stack_prompts(prompts)
    features = DeepStack.of(prompts, range(hidden.shape[1]))
    hidden = decoder.run(hidden, positions, attention, attention.buffer.layers, features)
    attention.buffer.lengths = [len(prompt) for prompt in prompts]
    return hidden.to(decoder.model.device)
