"""Prefill with pruning: later layers compute and store only the visual tokens that the method keeps.

The stock text model runs all its layers in one call. Here its layers are called in two runs, and the dropped tokens are
removed in between instead of masked, so that they are not computed.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dycoke_cli.engine.attention import attention_row
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.deepstack import add_features
from dycoke_cli.engine.prefill import PrefillPass, at_rows, stack_prompts
from dycoke_cli.methods.protocol import PrefillPruner
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.tokens import Prompt


class PrunedPrefill(NamedTuple):
    """The visual tokens that layers from `layer` on keep."""

    layer: int
    kept: tuple[Tensor, ...]  # (kept,) int64 per row, indices into its prompt's visual tokens


class ScoredPass(PrefillPass):
    """A prefill pass into an empty buffer that records the attention of each prompt's last position at one layer."""

    def __init__(self, buffer: KVBuffer, prompts: list[Prompt], layer: int) -> None:
        super().__init__(buffer, max(map(len, prompts)))
        self.layer = layer
        self.last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=buffer.store.device)
        self.row: Tensor | None = None  # (batch, length) float32, see `attention_row`

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Compute causal attention, and record the last positions' attention at `layer`; see `Pass.attend`."""
        if module.layer_idx == self.layer:
            last = self.last.to(query.device)
            newest = query[torch.arange(len(last), device=query.device), :, last, None]
            mask = torch.arange(key.shape[2], device=key.device) <= last[:, None]
            self.row = attention_row(newest, key, scaling, mask[:, None, None]).to(self.last.device)
        return super().attend(module, query, key, value, scaling)


def pruned_prefill(
    model: LanguageModel, prompts: list[Prompt], prefill_pruner: PrefillPruner, room: int
) -> tuple[Tensor, list[KVBuffer], list[Tensor], PrunedPrefill]:
    """Prefill prompts, dropping visual tokens before layer `prefill_pruner.layer`.

    room: maximum number of generated tokens. Returns the logits of each prompt's last position (batch, vocabulary); one
    buffer for the layers before the cut and one for those from it on; per row the slots of the visual tokens in the
    latter; and the kept tokens.
    """
    shallow, reduced, pruned = _run_until_cut(model, prompts, prefill_pruner, room)
    deep = KVBuffer.empty(model, len(reduced), max(map(len, reduced)) + room, range(prefill_pruner.layer, model.layers))
    hidden = _run_layers(model, reduced, PrefillPass(deep, max(map(len, reduced))))
    logits: Tensor = model.head(model.body.norm(at_rows(hidden, [len(prompt) - 1 for prompt in reduced])))[:, 0]
    return logits.to(model.device), [shallow, deep], [prompt.visual for prompt in reduced], pruned


def _run_until_cut(
    model: LanguageModel, prompts: list[Prompt], prefill_pruner: PrefillPruner, room: int
) -> tuple[KVBuffer, list[Prompt], PrunedPrefill]:
    """Run the layers before the cut. Return their buffer, prompts of the kept hidden states, and the kept tokens."""
    cut = prefill_pruner.layer
    buffer = KVBuffer.empty(model, len(prompts), max(map(len, prompts)) + room, range(cut))
    scored = ScoredPass(buffer, prompts, cut - 1)
    hidden = _run_layers(model, prompts, scored)
    assert scored.row is not None
    kept = tuple(prefill_pruner.choose(row[prompt.visual]) for prompt, row in zip(prompts, scored.row, strict=True))
    reduced = [
        replace(prompt, embeds=states[: len(prompt)]).only(chosen)
        for prompt, states, chosen in zip(prompts, hidden, kept, strict=True)
    ]
    return buffer, reduced, PrunedPrefill(cut, kept)


def _run_layers(model: LanguageModel, prompts: list[Prompt], current: PrefillPass) -> Tensor:
    """Run only the layers that the pass's buffer stores. Returns (batch, length, hidden)."""
    hidden, positions = stack_prompts(prompts)
    rotary = model.body.rotary_emb(hidden, positions)
    for layer in current.buffer.layers:
        hidden = model.body.layers[layer](
            hidden,
            attention_mask=None,
            position_ids=positions,
            use_cache=True,
            position_embeddings=rotary,
            dycoke=current,
            **{model.cache_argument: current},
        )
        add_features(hidden, prompts, layer)
    current.buffer.lengths = [len(prompt) for prompt in prompts]
    return hidden.to(model.device)
