"""The generation loop: prefill prompts and yield one `Step` per new token. Timing and output are the caller's."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.decode import Outcome
from dycoke_cli.engine.decode_attention import DecodeAttention
from dycoke_cli.engine.decoder import Decoder
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.kv_pruning import KVPruning
from dycoke_cli.engine.prefill import prefill
from dycoke_cli.engine.prefill_pruning import PrunedPrefill, pruned_prefill
from dycoke_cli.engine.sampling import Sampler, Sampling
from dycoke_cli.engine.token_transfer import TokenTransfer
from dycoke_cli.methods.protocol import Method, Selection
from dycoke_cli.models.language_model import LanguageModel
from dycoke_cli.system.device import upload
from dycoke_cli.tokens import Prompt


@dataclass(frozen=True)
class Stop:
    """When an answer ends: after one of the token ids, or after `max_new_tokens` tokens."""

    ids: frozenset[int]
    max_new_tokens: int


@dataclass(frozen=True)
class Step:
    """One new token per row, computed by the prefill (step 0) or by a decode step."""

    number: int
    tokens: tuple[int | None, ...]  # (batch,); None in rows whose answer has ended
    logits: Tensor  # (rows, vocabulary), from which the tokens were sampled
    selection: Selection | None  # visual tokens that the pruned layers read; None: all
    scores: Tensor | None  # (rows, tokens) float32, input of the selector
    pruned: PrunedPrefill | None  # tokens the prefill kept; selection and scores index into these
    rows: tuple[int, ...]  # row numbers of the tensors, in order; rows that have ended may be missing
    visual: tuple[int, ...]  # number of visual tokens that the selector chose from, for each of `rows`

    def row(self, number: int) -> "Step":
        """Return the part of one running row, as a step with a batch of 1."""
        at = self.rows.index(number)
        own, selection = slice(at, at + 1), self.selection
        if selection is not None:
            valid = None if selection.valid is None else selection.valid[own]
            selection = Selection(selection.index[own], valid, selection.changed[own])
        return replace(
            self,
            tokens=(self.tokens[number],),
            logits=self.logits[own],
            selection=selection,
            scores=None if self.scores is None else self.scores[own, : self.visual[at]],
            pruned=self.pruned and self.pruned._replace(kept=(self.pruned.kept[number],)),
            rows=(0,),
            visual=(self.visual[at],),
        )


@torch.inference_mode()
def share(model: LanguageModel, prompt: Prompt, buffer: KVBuffer, graphs: GraphStore | None = None) -> None:
    """Prefill the shared prefix of several questions into an empty buffer of one row."""
    prefill((graphs or GraphStore.of(model)).decoder(model), buffer, [prompt])


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: list[Prompt],
    method: Method,
    stop: Stop,
    sampling: Sampling,
    buffer: KVBuffer | None = None,
    graphs: GraphStore | None = None,
) -> Iterator[Step]:
    """Answer `prompts` as one batch and yield each step, until every row has met `stop`.

    buffer: may contain earlier positions, one row per prompt; None allocates one. A method that acts inside the prefill
    needs whole prompts: with a buffer it raises ValueError. graphs: captures steps as CUDA graphs and keeps them for
    the next run.

    On CUDA the next step is already running when a step is yielded, which happens once its tokens are on the host.
    """
    room = stop.max_new_tokens
    graphs = graphs or GraphStore.of(model)
    decoder = graphs.decoder(model)
    logits, buffers, visual, pruned = _fill(decoder, prompts, method, buffer, room, graphs)
    positions = upload([prompt.next_position for prompt in prompts], model.device)
    sampler = Sampler(sampling, len(prompts), model.device)
    running, outcome, run = [True] * len(prompts), Outcome(logits, None, None), _Run(graphs, len(prompts))
    for number in range(room):
        tokens = sampler.pick(outcome.logits)
        arrival = TokenTransfer(tokens)
        rows = run.rows
        ahead = run.step(tokens) if arrival.later and 0 < number < room - 1 else None
        picked = dict(zip(rows, arrival.ids(), strict=True))
        ids = tuple(picked[row] if runs else None for row, runs in enumerate(running))
        yield Step(number, ids, *outcome, pruned, rows, tuple(len(visual[row]) for row in rows))
        running = [token is not None and token not in stop.ids for token in ids]
        if not any(running) or number + 1 == room:
            return
        if number == 0:  # after the first token, so that it does not wait
            run.begin(decoder, buffers, visual, method, room, positions)
        if (places := run.leave(running)) is not None:
            sampler.only(places)
            tokens, ahead = tokens[places], ahead and ahead.only(places)
        outcome = ahead or run.step(tokens)


class _Run:
    """The decode step of one call of `generate`, and the rows that it still computes."""

    def __init__(self, graphs: GraphStore, batch: int) -> None:
        self.graphs, self.rows = graphs, tuple(range(batch))

    def begin(
        self,
        decoder: Decoder,
        buffers: list[KVBuffer],
        visual: list[Tensor],
        method: Method,
        room: int,
        positions: Tensor,
    ) -> None:
        """Create the step; the method selects from the last of `buffers`. positions: (batch,) int64."""
        bucket, parts = self.graphs.bucket, []
        for buffer in buffers:
            plan = KVPruning(visual, buffer.lengths, room, buffer.slots, bucket)
            selector = method.selector(plan.counts, plan.width) if buffer is buffers[-1] else None
            parts.append(DecodeAttention(buffer, plan, selector, bucket, decoder.operators))
        self.current = self.graphs.step(decoder, parts, positions)

    def step(self, tokens: Tensor) -> Outcome:
        """Run one step on `tokens` (rows,) int64."""
        return self.current(tokens)

    def leave(self, running: list[bool]) -> list[int] | None:
        """Remove ended rows if that makes steps faster. Return the indices of the kept rows, None if all are kept."""
        alive = [place for place, row in enumerate(self.rows) if running[row]]
        count = self.graphs.fewer(len(self.rows), len(alive))
        if count == len(self.rows):
            return None
        ended = [place for place, row in enumerate(self.rows) if not running[row]]
        places = _packed(alive, ended, count)
        index = upload(places, self.current.positions.device)
        parts = [part.only(places, index) for part in self.current.parts]
        self.current = self.graphs.step(self.current.decoder, parts, self.current.positions[index, 0])
        self.rows = tuple(self.rows[place] for place in places)
        return places


def _packed(alive: list[int], ended: list[int], count: int) -> list[int]:
    """Return `count` row indices that include all of `alive`, in an order that moves as few rows as possible."""
    chosen = {*alive, *ended[: count - len(alive)]}
    moved = iter(sorted(place for place in chosen if place >= count))
    return [place if place in chosen else next(moved) for place in range(count)]


def _fill(
    decoder: Decoder,
    prompts: list[Prompt],
    method: Method,
    buffer: KVBuffer | None,
    room: int,
    graphs: GraphStore,
) -> tuple[Tensor, list[KVBuffer], list[Tensor], PrunedPrefill | None]:
    """Prefill the prompts; returns as `pruned_prefill`, with None as the last value if nothing was pruned."""
    prefill_pruner = method.prefill_pruner()
    if prefill_pruner is None:
        buffer = buffer or graphs.empty_buffer(decoder.model, len(prompts), max(map(len, prompts)) + room)
        return prefill(decoder, buffer, prompts), [buffer], [prompt.visual for prompt in prompts], None
    if buffer is not None:
        raise ValueError(f"method {method.name} acts inside the prefill: it needs whole prompts, not a filled buffer")
    return pruned_prefill(decoder, prompts, prefill_pruner, room)
