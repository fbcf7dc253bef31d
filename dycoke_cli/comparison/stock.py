"""Transformers' own `generate`, as a baseline: nothing of this project's engine is in it."""

import time
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from dycoke_cli.comparison.result import STOCK
from dycoke_cli.models.families.family import Family
from dycoke_cli.session.answer import Answer, Memory, StepRecord, Times, TokenCounts
from dycoke_cli.system.device import out_of_memory_explained, suitable_threads
from dycoke_cli.system.measure import PeakMemory, Stopwatch
from dycoke_cli.video.clip import Clip


class Clocked(BaseStreamer):
    """Notes when each new token reaches the host, which waits for the device to get it."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.at: list[float] = []  # seconds of time.perf_counter, one for each of `ids`
        self.begun = False

    def put(self, value: Tensor) -> None:
        """Take a token; what comes first is the prompt."""
        if self.begun:
            self.at.append(time.perf_counter())
            self.ids += value.flatten().tolist()
        self.begun = True

    def end(self) -> None:
        """Part of the streamer interface."""


class StockGenerate:
    """Answers one question about a clip with transformers alone: pixels and token ids in, tokens out, greedily.

    It has the same frames, number format, attention kernels, CPU threads and end tokens as this project's runs. In its
    clock, as in theirs: resizing the frames, tokenizing, the vision tower, the prefill and all steps. Its peak begins
    once the pixels are there, so that their own memory is not held against it; theirs are made a few at a time.

    A LLaVA layout that transformers does not know starts from the embeddings that this project makes (`from_pixels` is
    False).
    """

    def __init__(self, model: Family, clip: Clip, max_new_tokens: int) -> None:
        self.model, self.clip = model, clip
        self.from_pixels = model.stock_from_pixels
        self.generation = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            # Said outright, because what is left open is filled from the checkpoint's own file.
            num_beams=1,
            repetition_penalty=1.0,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            eos_token_id=sorted(model.stop_ids),
            pad_token_id=min(model.stop_ids),
        )
        device = model.language_model.device
        self.watch, self.peak = Stopwatch(device), PeakMemory(device)

    @property
    def described(self) -> dict[str, Any]:
        """The arm in records."""
        inputs = "pixels" if self.from_pixels else "embeddings"
        return {"label": STOCK, "name": STOCK, "options": {"inputs": inputs}}

    @torch.inference_mode()
    def answer(self, question: str) -> Answer:
        """Run once."""
        with out_of_memory_explained(), suitable_threads(self.model.language_model.device, self.model.weight_bytes):
            if not self.from_pixels:
                self.peak.restart()  # what encoding takes is this project's doing either way
            self.watch.restart()
            inputs = self._pixels(question) if self.from_pixels else self._embeddings(question)
            prepared_s = self.watch.lap()
            if self.from_pixels:
                self.peak.restart()
            clocked = Clocked()
            self.watch.restart()
            self.model.model.generate(**inputs, generation_config=self.generation, streamer=clocked)
            return self._record(question, inputs["attention_mask"].shape[1], clocked, prepared_s)

    def _pixels(self, question: str) -> dict[str, Tensor]:
        clip = self.clip
        return self.model.stock_inputs(clip.frames.pixels, question, clip.seconds, clip.duration_s)

    def _embeddings(self, question: str) -> dict[str, Tensor]:
        """Make the whole prompt as embeddings, uncompressed."""
        clip, tokens = self.clip, self.model.encode(self.clip.frames.pixels)
        embeds = self.model.prompt_for(tokens, question, clip.seconds, clip.duration_s, "packed").embeds[None]
        return {"inputs_embeds": embeds, "attention_mask": torch.ones_like(embeds[..., 0], dtype=torch.int64)}

    @property
    def _grid(self) -> Any:
        frames, height, width, _ = self.clip.frames.pixels.shape
        return self.model.grid(frames, (height, width))

    def _record(self, question: str, prompt: int, clocked: Clocked, prepared_s: float) -> Answer:
        """Put together what the clock and the streamer saw; every step reads every token."""
        ids, visual = clocked.ids, self._grid.total
        length = self.model.video_length(self._grid)
        text = prompt - length
        shown = [token for token in ids if token not in self.model.stop_ids]
        steps = tuple(StepRecord(number, visual, 1.0, 0, False) for number in range(len(ids)))
        kv = (prompt + len(ids) - 1) * self.model.language_model.kv_bytes_per_token
        peak = self.peak
        return Answer(
            question=question,
            answer=self.model.decode(shown).strip(),
            finish="stop" if ids[-1] in self.model.stop_ids else "length",
            tokens=TokenCounts(
                visual, visual, length - visual, text, len(ids), prompt, 1.0, self.model.language_model.context
            ),
            steps=steps,
            time_s=self._times(clocked, prepared_s),
            memory_bytes=Memory(self.model.weight_bytes, kv, kv, peak.peak, peak.above_start, peak.of),
        )

    def _times(self, clocked: Clocked, prepared_s: float) -> Times:
        """Read the clock; only from embeddings are vision and prefill known apart."""
        first_s = clocked.at[0] - self.watch.began
        later = [now - before for before, now in pairwise(clocked.at)]
        first_token, decode = self.clip.decode_s + prepared_s + first_s, sum(later)
        vision, prefill = (None, None) if self.from_pixels else (prepared_s, first_s)
        per_token = median(later) if later else None
        return Times(self.clip.decode_s, vision, prefill, first_token, decode, per_token, first_token + decode)
