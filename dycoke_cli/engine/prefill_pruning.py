"""The prefill of a method that drops tokens on the way: the later layers run on fewer rows and store fewer keys.

The stock text model runs all its layers in one call. Here its own layers are called in two runs, with the rows between
them taken out. Nothing is masked: what was dropped is not computed.
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
    """Which visual tokens are left from a layer on."""

    layer: int
    kept: tuple[Tensor, ...]  # for each row (kept,) int64, into its prompt's visual tokens


class WatchedPass(PrefillPass):
    """A prefill pass into an empty buffer that sees how each prompt's last position attends at one layer."""

    def __init__(self, buffer: KVBuffer, prompts: list[Prompt], layer: int) -> None:
        super().__init__(buffer, max(map(len, prompts)))
        self.layer = layer
        self.last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=buffer.store.device)
        self.row: Tensor | None = None  # (batch, length) float32, see `attention_row`

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend causally, and note the last positions' rows at the watched layer; see `Pass.attend`."""
        if module.layer_idx == self.layer:
            last = self.last.to(query.device)
            newest = query[torch.arange(len(last), device=query.device), :, last, None]
            seen = torch.arange(key.shape[2], device=key.device) <= last[:, None]
            self.row = attention_row(newest, key, scaling, seen[:, None, None]).to(self.last.device)
        return super().attend(module, query, key, value, scaling)


def pruned_prefill(
    model: LanguageModel, prompts: list[Prompt], prefill_pruner: PrefillPruner, room: int
) -> tuple[Tensor, list[KVBuffer], list[Tensor], PrunedPrefill]:
    """Run prompts through the model, dropping visual tokens before layer `prefill_pruner.layer`.

    room: how many tokens may be generated. Returns the logits of each prompt's last position (batch, vocabulary), one
    buffer for the layers before the cut and one for those after it, the slots of the visual tokens in the latter, and
    what was kept.
    """
    shallow, left, pruned = _run_until_cut(model, prompts, prefill_pruner, room)
    deep = KVBuffer.empty(model, len(left), max(map(len, left)) + room, range(prefill_pruner.layer, model.layers))
    hidden = _run_layers(model, left, PrefillPass(deep, max(map(len, left))))
    logits: Tensor = model.head(model.body.norm(at_rows(hidden, [len(prompt) - 1 for prompt in left])))[:, 0]
    return logits.to(model.device), [shallow, deep], [prompt.visual for prompt in left], pruned


def _run_until_cut(
    model: LanguageModel, prompts: list[Prompt], prefill_pruner: PrefillPruner, room: int
) -> tuple[KVBuffer, list[Prompt], PrunedPrefill]:
    """Run the layers that see everything; what is left then is a prompt again, of hidden states."""
    cut = prefill_pruner.layer
    buffer = KVBuffer.empty(model, len(prompts), max(map(len, prompts)) + room, range(cut))
    watched = WatchedPass(buffer, prompts, cut - 1)
    hidden = _run_layers(model, prompts, watched)
    assert watched.row is not None
    kept = tuple(prefill_pruner.choose(row[prompt.visual]) for prompt, row in zip(prompts, watched.row, strict=True))
    left = [
        replace(prompt, embeds=states[: len(prompt)]).only(chosen)
        for prompt, states, chosen in zip(prompts, hidden, kept, strict=True)
    ]
    return buffer, left, PrunedPrefill(cut, kept)


def _run_layers(model: LanguageModel, prompts: list[Prompt], current: PrefillPass) -> Tensor:
    """Run the layers that the pass's buffer stores, and no others; returns (batch, length, hidden)."""
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
