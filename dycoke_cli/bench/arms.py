"""The arms of a bench: this engine with a method, and transformers' own `generate`, on the same weights."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig

from dycoke_cli.bench.case import Case, Counts
from dycoke_cli.bench.inputs import Pictures, Source
from dycoke_cli.comparison.depth import Depth
from dycoke_cli.comparison.stock import TokenTimer, embeds_inputs
from dycoke_cli.comparison.stock_config import generation_of, options_of
from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.arm import Arm
from dycoke_cli.methods.full import Full
from dycoke_cli.methods.parsing import STOCK, STOCK_COMPILED
from dycoke_cli.methods.protocol import Method, Selection
from dycoke_cli.models.families.llava import Llava
from dycoke_cli.session.video import encode_compressed
from dycoke_cli.system.measure import PeakMemory, Stopwatch
from dycoke_cli.tokens import VisualTokens

# Token ids before and after the video: as many as the chat template and a short question have.
BEFORE, AFTER = [5] * 14, [6] * 20


class Measured(NamedTuple):
    """Times, token counts and peak memory (bytes above the start) of one run."""

    time_s: dict[str, float | None]
    counts: Counts
    peak_above_start: int | None
    compiling: tuple[dict[str, float | None], ...] = ()  # times of earlier, unmeasured runs, which also compiled


class BenchArm(ABC):
    """An arm that can run a case repeatedly."""

    def __init__(self, model: Llava, method: Method, described: dict[str, Any]) -> None:
        self.model, self.described = model, described
        self.label: str = described["label"]
        self.depth = Depth.of(method, model.facts.layers)
        device = model.language_model.device
        self.watch, self.peak = Stopwatch(device), PeakMemory(device)

    @abstractmethod
    def run(self, case: Case, source: Source, rows: Sequence[VisualTokens]) -> Measured:
        """Run the case once. rows: the visual tokens of each prompt; empty if the case includes vision."""

    @abstractmethod
    def reset(self) -> None:
        """Release memory that is kept for the next run."""


class EngineArm(BenchArm):
    """A method on this project's engine."""

    def __init__(self, model: Llava, arm: Arm, compiled: bool = False) -> None:
        super().__init__(model, arm.method, arm.described)
        self.method, self.compiled = arm.method, compiled
        self.reset()

    @torch.inference_mode()
    def run(self, case: Case, source: Source, rows: Sequence[VisualTokens]) -> Measured:
        """Encode, compress, prefill and decode; see `BenchArm.run`."""
        pictures = source.frames(case.frames) if case.vision else None
        self.peak.restart()
        self.watch.restart()
        if pictures is not None:
            kept = [encode_compressed(self.model, pictures.pixels, self.method)]
            vision_s: float | None = self.watch.lap()
        else:
            kept, vision_s = [self.method.compress(tokens) for tokens in rows], None
        prompts = [self.model.prompt(tokens, AFTER, self.method.positions, BEFORE) for tokens in kept]
        entered, others = len(kept[0]), len(prompts[0]) - len(kept[0])
        del kept
        stop = Stop(frozenset(), case.new_tokens)
        # The time of a token is its arrival on the host, as for `generate`. On CUDA the next step already runs by then;
        # synchronising after each step would prevent this overlap.
        at, read, left = [], [], entered
        steps = generate(self.model.language_model, prompts, self.method, stop, Sampling(), graphs=self.graphs)
        del prompts
        for step in steps:
            at.append(time.perf_counter())
            left = len(step.pruned.kept[0]) if step.pruned is not None else entered
            read.append(left if step.selection is None else _width(step.selection))
        times = _times(pictures, vision_s, at[0] - self.watch.began, at)
        counts = Counts(entered, left, others, tuple(map(_mean, read[1:])))
        return Measured(times, counts, self.peak.above_start)

    def reset(self) -> None:
        """Release the decode graphs; see `BenchArm.reset`."""
        self.graphs = GraphStore.of(self.model.language_model, self.compiled)


def _width(selection: Selection) -> int | Tensor:
    """Return the number of visual tokens read, or the mask that contains it, to be summed after the timed section."""
    return selection.index.shape[1] if selection.valid is None else selection.valid


def _mean(read: int | Tensor) -> int:
    """Return the number of visual keys that a step read, mean over the batch."""
    return read if isinstance(read, int) else round(read.sum().item() / len(read))


class StockArm(BenchArm):
    """Transformers only, greedy, as `generate` is called by default: SDPA, a dynamic cache, no returned logits.

    It starts from pixels if the case includes vision, else from embeddings. Its peak is measured from after its inputs
    are made.
    """

    def __init__(self, model: Llava, label: str = STOCK) -> None:
        super().__init__(model, Full(), {"label": label, "name": label, "options": options_of(label)})

    @torch.inference_mode()
    def run(self, case: Case, source: Source, rows: Sequence[VisualTokens]) -> Measured:
        """Run `generate` once; see `BenchArm.run`."""
        pictures = source.frames(case.frames) if case.vision else None
        self.watch.restart()
        inputs = self._pixels(case, pictures.pixels) if pictures is not None else self._embeddings(rows)
        prepared_s = self.watch.lap()
        self.peak.restart()
        timer = TokenTimer()
        self.watch.restart()
        self.model.model.generate(**inputs, generation_config=self._generation(case), streamer=timer)
        times = _times(pictures, None, prepared_s + timer.at[0] - self.watch.began, timer.at)
        if pictures is not None:
            times["prefill"] = None  # `generate` runs the vision tower inside its prefill
        others = len(BEFORE) + len(AFTER) + self.model.layout.length(self.model.grid(case.frames)) - case.visual
        counts = Counts(case.visual, case.visual, others, (case.visual,) * (len(timer.at) - 1))
        return Measured(times, counts, self.peak.above_start)

    def reset(self) -> None:
        """Do nothing, since no memory is kept; see `BenchArm.reset`."""

    def _pixels(self, case: Case, pixels: Any) -> dict[str, Tensor]:
        """Return the inputs of `generate` as in the documentation of transformers."""
        length = self.model.layout.length(self.model.grid(case.frames))
        visual = [self.model.model.config.video_token_index] * length
        ids = torch.tensor([BEFORE + visual + AFTER], device=self.model.language_model.device)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values_videos": self.model.pixels(pixels)[None],
        }

    def _embeddings(self, rows: Sequence[VisualTokens]) -> dict[str, Tensor]:
        prompts = [self.model.prompt(tokens, AFTER, "packed", BEFORE) for tokens in rows]
        return embeds_inputs(torch.stack([prompt.embeds for prompt in prompts]))

    def _generation(self, case: Case) -> GenerationConfig:
        # An end token outside the vocabulary: `generate` checks for it, but every run has the same length.
        never = self.model.language_model.body.config.vocab_size
        return generation_of(
            self.label,
            self.model.language_model.device,
            max_new_tokens=case.new_tokens,
            eos_token_id=never,
            pad_token_id=0,
            use_cache=True,
            return_dict_in_generate=False,
        )


class CompiledStockArm(StockArm):
    """Transformers only, in its fastest documented configuration: a static cache and a compiled forward."""

    def __init__(self, model: Llava) -> None:
        from dycoke_cli.comparison.compiled_stock import CompiledForward

        super().__init__(model, STOCK_COMPILED)
        self.forward = CompiledForward(model.model)

    def run(self, case: Case, source: Source, rows: Sequence[VisualTokens]) -> Measured:
        """Run `generate` until a run compiles nothing, and return this one; see `BenchArm.run`."""
        measured, compiling = self.forward.settled(lambda: super(CompiledStockArm, self).run(case, source, rows))
        return measured._replace(compiling=tuple(each.time_s for each in compiling))

    def reset(self) -> None:
        """Release the compiled forward; see `BenchArm.reset`."""
        self.forward.reset()


def _times(
    pictures: Pictures | None, vision_s: float | None, prefill_s: float, at: Sequence[float]
) -> dict[str, float | None]:
    """Return the time of each phase of `case.PHASES` in seconds; at: the clock at each new token."""
    video_s, later = pictures.decode_s if pictures else None, [now - before for before, now in pairwise(at)]
    first_token_s, decode_s = (video_s or 0.0) + (vision_s or 0.0) + prefill_s, sum(later)
    return {
        "video": video_s,
        "vision": vision_s,
        "prefill": prefill_s,
        "first_token": first_token_s,
        "per_token": median(later) if later else None,
        "decode": decode_s,
        "total": first_token_s + decode_s,
    }


def make_arms(model: Llava, arms: Sequence[Arm], stocks: Sequence[str], compiled: bool) -> list[BenchArm]:
    """Build the arms on `model`, first those of transformers alone.

    stocks: from `STOCKS`. compiled: run the decode steps of this engine through torch.compile.
    """
    ready: list[BenchArm] = [
        CompiledStockArm(model) if label == STOCK_COMPILED else StockArm(model) for label in stocks
    ]
    return ready + [EngineArm(model, arm, compiled) for arm in arms]
