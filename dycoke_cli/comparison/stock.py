"""Run transformers' own `generate` as a baseline, without this project's engine."""

import time
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from dycoke_cli.comparison.stock_config import generation_of, options_of
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED
from dycoke_cli.models.families.family import Family
from dycoke_cli.session.answer import Answer, Memory, StepRecord, Times, TokenCounts
from dycoke_cli.session.video import Video
from dycoke_cli.system.device import out_of_memory_explained, suitable_threads
from dycoke_cli.system.measure import PeakMemory, Stopwatch

if TYPE_CHECKING:
    from dycoke_cli.comparison.compiled_stock import CompiledForward


def embeds_inputs(embeds: Tensor) -> dict[str, Tensor]:
    """Return the inputs of `generate` for whole prompts of embeddings (batch, tokens, hidden)."""
    return {"inputs_embeds": embeds, "attention_mask": torch.ones_like(embeds[..., 0], dtype=torch.int64)}


class TokenTimer(BaseStreamer):
    """Record when each new token arrives on the host; the copy to the host waits for the device."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.at: list[float] = []  # seconds of time.perf_counter, one for each of `ids`
        self.begun = False

    def put(self, value: Tensor) -> None:
        """Record new tokens; the first call passes the prompt, which is ignored."""
        if self.begun:
            self.at.append(time.perf_counter())
            self.ids += value.flatten().tolist()
        self.begun = True

    def end(self) -> None:
        """Do nothing; the streamer interface requires it."""


class StockGenerate:
    """A baseline that answers a question about a clip with transformers only: greedily, from pixels and token ids.

    It uses the same frames, number format, attention kernels, CPU threads and end tokens as this project's runs. As in
    those, its time includes resizing the frames, tokenizing, the vision tower, the prefill and all steps. Its peak is
    measured from after the pixels are made: it needs the pixels of all frames at once, while this project's runs make
    those of a few frames at a time.

    For a LLaVA layout that transformers does not support, it starts from this project's embeddings (`from_pixels` is
    False).

    label: one of `STOCKS`. For the compiled one, `answer` runs until nothing is compiled any more, and `compiling_s`
    contains the total times of the runs before.
    """

    def __init__(self, model: Family, video: Video, max_new_tokens: int, label: str = STOCK) -> None:
        self.model, self.video, self.clip, self.label = model, video, video.clip, label
        self.from_pixels = model.stock_from_pixels
        device = model.language_model.device
        self.generation = generation_of(
            label,
            device,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(model.stop_ids),
            pad_token_id=min(model.stop_ids),
        )
        self.watch, self.peak = Stopwatch(device), PeakMemory(device)
        self.compiling_s: list[float] = []
        self.forward = _compiled_forward(model) if label == STOCK_COMPILED else None

    @property
    def described(self) -> dict[str, Any]:
        """The arm as in JSON records: label, name, options."""
        inputs = "pixels" if self.from_pixels else "embeddings"
        return {"label": self.label, "name": self.label, "options": {"inputs": inputs, **options_of(self.label)}}

    def answer(self, question: str) -> Answer:
        """Answer the question, measured."""
        if self.forward is None:
            return self._answer(question)
        answer, compiling = self.forward.settled(lambda: self._answer(question))
        self.compiling_s += [each.time_s.total for each in compiling]
        return answer

    @torch.inference_mode()
    def _answer(self, question: str) -> Answer:
        """Answer the question once, measured."""
        with out_of_memory_explained(), suitable_threads(self.model.language_model.device, self.model.weight_bytes):
            if not self.from_pixels:
                self.peak.restart()  # this project encodes the video here, so its memory counts
            self.watch.restart()
            inputs = self._inputs(question)
            prepared_s = self.watch.lap()
            if self.from_pixels:
                self.peak.restart()
            timer = TokenTimer()
            self.watch.restart()
            self.model.model.generate(**inputs, generation_config=self.generation, streamer=timer)
            return self._record(question, inputs["attention_mask"].shape[1], timer, prepared_s)

    def _inputs(self, question: str) -> dict[str, Tensor]:
        """Return pixels and token ids, or the embeddings of the whole uncompressed prompt."""
        clip = self.clip
        if self.from_pixels:
            return self.model.stock_inputs(clip.frames.pixels, question, clip.seconds, clip.duration_s)
        tokens = self.model.encode(clip.frames.pixels)
        prompt = self.model.prompt_for(tokens, question, clip.seconds, clip.duration_s, "packed")
        return embeds_inputs(prompt.embeds[None])

    def _record(self, question: str, prompt: int, timer: TokenTimer, prepared_s: float) -> Answer:
        """Build the answer from the recorded tokens and times; every step reads every token."""
        frames, height, width, _ = self.clip.frames.pixels.shape
        grid = self.model.grid(frames, (height, width))
        ids, visual, length = timer.ids, grid.total, self.model.video_length(grid)
        shown = [token for token in ids if token not in self.model.stop_ids]
        language_model = self.model.language_model
        per_token = language_model.kv_bytes_per_token
        uncompressed = kv = (prompt + len(ids) - 1) * per_token
        if self.forward is not None:  # a static cache has room for the longest answer
            kv = (prompt + self.generation.max_new_tokens - 1) * per_token
        return Answer(
            question=question,
            answer=self.model.decode(shown).strip(),
            finish="stop" if ids[-1] in self.model.stop_ids else "length",
            tokens=TokenCounts(
                visual, visual, length - visual, prompt - length, len(ids), prompt, 1.0, language_model.context
            ),
            steps=tuple(StepRecord(number, visual, 1.0, 0, False) for number in range(len(ids))),
            time_s=self._times(timer, prepared_s),
            memory_bytes=Memory(
                self.model.weight_bytes, kv, uncompressed, self.peak.peak, self.peak.above_start, self.peak.of
            ),
        )

    def _times(self, timer: TokenTimer, prepared_s: float) -> Times:
        """Compute the times; vision and prefill are separate only if the run started from embeddings."""
        first_s = timer.at[0] - self.watch.began
        later = [now - before for before, now in pairwise(timer.at)]
        first_token, decode = self.video.pending.seconds + prepared_s + first_s, sum(later)
        vision, prefill = (None, None) if self.from_pixels else (prepared_s, first_s)
        per_token = median(later) if later else None
        return Times(self.video.pending.seconds, vision, prefill, first_token, decode, per_token, first_token + decode)


def _compiled_forward(model: Family) -> "CompiledForward":
    from dycoke_cli.comparison.compiled_stock import CompiledForward  # here, because it imports torch's compiler

    return CompiledForward(model.model)
