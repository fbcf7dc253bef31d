"""Record the steps of one answer: text, token counts, times, memory, and which tokens each step read."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import torch
from torch import Tensor

from dycoke_cli.engine.generate import Step, Stop
from dycoke_cli.engine.nonfinite import refuse_nonfinite
from dycoke_cli.engine.prefill_pruning import PrunedPrefill
from dycoke_cli.engine.text_stream import TextStream
from dycoke_cli.methods.protocol import Selection
from dycoke_cli.models.families.family import Family
from dycoke_cli.session.answer import Answer, Memory, StepRecord, Times, TokenCounts, Trace
from dycoke_cli.system.measure import PeakMemory
from dycoke_cli.tokens import Prompt, VisualTokens


class Recorder:
    """Records one answer step by step; tensors stay on their device until the answer is complete.

    tokens: the visual tokens in the prompt. prompt: what is prefilled for this answer alone, after `shared` positions
    that are in the buffer.
    """

    def __init__(self, model: Family, stop: Stop, tokens: VisualTokens, prompt: Prompt, shared: int) -> None:
        self.model, self.stop, self.tokens, self.prompt, self.shared = model, stop, tokens, prompt, shared
        self.stream = TextStream(model.decode)
        self.seconds: list[float] = []
        self.selections: list[Selection | None] = []
        self.scores: list[Tensor | None] = []
        self.ids: list[int] = []
        self.pieces: list[str] = []
        self.pruned: PrunedPrefill | None = None

    def take(self, step: Step, seconds: float) -> str:
        """Record one step and its time in seconds; return the text that it adds."""
        token = step.tokens[0]
        assert token is not None  # a batch of one row ends with that row
        if step.number == 0:
            refuse_nonfinite(step.logits, self.model.model, self.model.language_model.dtype)
        self.seconds.append(seconds)
        self.selections.append(step.selection)
        self.scores.append(step.scores)
        self.ids.append(token)
        self.pruned = step.pruned
        self.pieces.append("" if token in self.stop.ids else self.stream.push(token))
        return self.pieces[-1]

    def finish(self) -> str:
        """Return the text that the text stream still held back; it belongs to the last step."""
        rest = self.stream.finish()
        self.pieces[-1] += rest
        return rest

    def times(self, decode_video_s: float, vision_s: float, shared_prefill_s: float) -> Times:
        """Return the times of the answer, given those of shared work, in seconds."""
        prefill, later = shared_prefill_s + self.seconds[0], self.seconds[1:]
        first_token, decode = decode_video_s + vision_s + prefill, sum(later)
        per_token = median(later) if later else None
        return Times(decode_video_s, vision_s, prefill, first_token, decode, per_token, first_token + decode)

    def answer(self, question: str, times: Times, peak: PeakMemory, trace: bool) -> Answer:
        """Return the complete answer."""
        read = [self._read(selection) for selection in self.selections]
        return Answer(
            question=question,
            answer=self.stream.text.strip(),
            finish="stop" if self.ids[-1] in self.stop.ids else "length",
            tokens=self._counts(),
            steps=tuple(self._records(read)),
            time_s=times,
            memory_bytes=self._memory(peak),
            trace=self._trace(read) if trace else None,
        )

    def trace(self) -> Trace:
        """Return which tokens each step read."""
        return self._trace([self._read(selection) for selection in self.selections])

    def settle(self) -> None:
        """Move what `trace` needs to the host and release the rest."""
        self.selections = [selection and _on_host(selection) for selection in self.selections]
        self.scores = [None if row is None else row.cpu() for row in self.scores]
        tokens = self.tokens
        self.tokens = replace(tokens, features=tokens.features[:, :0].cpu(), index=tokens.index.cpu(), saliency=None)
        self.prompt = replace(self.prompt, embeds=self.prompt.embeds[:, :0].cpu())

    def _counts(self) -> TokenCounts:
        grid, newlines = self.tokens.grid, self.prompt.newlines
        text = self.shared + len(self.prompt) - len(self.tokens) - newlines
        uncompressed = text + self.model.video_length(grid)
        retention = self._visual_cells() / (grid.total * self._layers)
        return TokenCounts(
            visual=grid.total,
            visual_prefill=len(self.tokens),
            newline=newlines,
            text=text,
            generated=len(self.ids),
            prompt_uncompressed=uncompressed,
            prefill_retention=round(retention, 6),
            context=self.model.language_model.context,
        )

    @property
    def _layers(self) -> int:
        return self.model.language_model.layers

    def _visual_cells(self) -> int:
        """Count the visual tokens of the prefill, summed over the layers."""
        entered = len(self.tokens)
        if self.pruned is None:
            return entered * self._layers
        cut = self.pruned.layer
        return entered * cut + len(self.pruned.kept[0]) * (self._layers - cut)

    def _kept(self) -> Tensor:
        """Return the visual tokens that the prefill kept in all layers, as indices into `tokens`."""
        return torch.arange(len(self.tokens)) if self.pruned is None else self.pruned.kept[0].cpu()

    def _read(self, selection: Selection | None) -> Tensor:
        """Return the visual tokens that one step read, as indices into `tokens`."""
        kept = self._kept()
        if selection is None:
            return kept
        index = selection.index[0]
        return kept[(index if selection.valid is None else index[selection.valid[0]]).cpu()]

    def _records(self, read: list[Tensor]) -> Iterator[StepRecord]:
        total = self.tokens.grid.total
        for number, (now, selection) in enumerate(zip(read, self.selections, strict=True)):
            recalled = int((~torch.isin(now, read[number - 1])).sum()) if number else 0
            changed = selection is not None and bool(selection.changed[0])
            yield StepRecord(number, len(now), round(len(now) / total, 6), recalled, changed)

    def _scores(self, row: Tensor) -> list[float]:
        """Return the scores of a step for all of `tokens`; those that the prefill dropped have 0."""
        values: list[float] = torch.zeros(len(self.tokens)).index_copy_(0, self._kept(), row.cpu()).tolist()
        return values

    def _memory(self, peak: PeakMemory) -> Memory:
        counts, per_token = self._counts(), self.model.language_model.kv_bytes_per_token
        # The last token is not run through the model, so it takes no slot.
        others = self.shared + len(self.prompt) - len(self.tokens) + counts.generated - 1
        used = (others * self._layers + self._visual_cells()) * (per_token // self._layers)
        uncompressed = (counts.prompt_uncompressed + counts.generated - 1) * per_token
        return Memory(self.model.weight_bytes, used, uncompressed, peak.peak, peak.above_start, peak.of)

    def _trace(self, read: list[Tensor]) -> Trace:
        whole = VisualTokens.uncompressed(torch.empty(*self.tokens.grid, 0))
        index = self.tokens.index.cpu()
        return Trace(
            frame=whole.frame.tolist(),
            row=whole.row.tolist(),
            col=whole.col.tolist(),
            prefill=index.tolist(),
            merged_into=self.tokens.survivor.tolist(),
            steps=[index[now].sort().values.tolist() for now in read],
            scores=[[] if row is None else self._scores(row[0]) for row in self.scores],
            pieces=self.pieces,
        )


def _on_host(selection: Selection) -> Selection:
    valid = None if selection.valid is None else selection.valid.cpu()
    return Selection(selection.index.cpu(), valid, selection.changed.cpu())
