"""One video before one model: questions in, measured answers out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dycoke_cli.answer import Answer, Memory, StepRecord, Times, TokenCounts, Trace
from dycoke_cli.device import suitable_threads
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Step, Stop, generate, share
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.errors import OutOfMemoryError
from dycoke_cli.families.llava import Llava
from dycoke_cli.listener import Listener
from dycoke_cli.measure import PeakMemory, Stopwatch, timed
from dycoke_cli.methods import Method
from dycoke_cli.methods.protocol import Selection
from dycoke_cli.settings import Settings
from dycoke_cli.textstream import TextStream
from dycoke_cli.tokens import Prompt, VisualTokens
from dycoke_cli.video.frames import Frames
from dycoke_cli.video.sampling import parse_time

WARM_UP_FRAMES = 4


@dataclass(frozen=True)
class Clip:
    """The sampled frames, and how the model is told about their times."""

    frames: Frames
    seconds: tuple[float, ...]  # of each frame, from the start of the sampled window
    duration_s: float  # of the window
    decode_s: float  # what reading them took

    @classmethod
    def of(cls, frames: Frames, start: str | None, end: str | None, decode_s: float) -> "Clip":
        """Look at the window from `start` to `end` of a video as a video of its own."""
        start_s = parse_time(start) if start is not None else 0.0
        end_s = min(parse_time(end), frames.info.duration_s) if end is not None else frames.info.duration_s
        return cls(frames, tuple(second - start_s for second in frames.seconds), end_s - start_s, decode_s)


class Session:
    """Runs a method over one clip: encodes and prefills it once, then answers each question from there.

    Times and peaks are measured for every question; shared work is counted in the first one's.
    """

    def __init__(self, model: Llava, clip: Clip, method: Method, settings: Settings) -> None:
        method.check(model.facts)
        self.model, self.clip, self.method = model, clip, method
        self.stop = Stop(model.stop_ids, settings.max_new_tokens)
        self.sampling = Sampling(settings.temperature, settings.top_p, settings.seed, settings.repetition_penalty)
        device = model.language_model.device
        self.watch, self.peak = Stopwatch(device), PeakMemory(device)

    def warm_up(self) -> None:
        """Run a few frames and two tokens, so that no arm of a comparison pays for what happens only once."""
        with out_of_memory_explained(), self._threads():
            tokens = self.method.compress(self.model.encode(self.clip.frames.pixels[:WARM_UP_FRAMES]))
            prompt, stop = self._prompt(tokens, ""), Stop(frozenset(), 2)
            for _ in generate(self.model.language_model, [prompt], self.method, stop, self.sampling):
                pass

    def _threads(self) -> AbstractContextManager[None]:
        return suitable_threads(self.model.language_model.device, self.model.weight_bytes)

    def answers(self, questions: Sequence[str], listener: Listener, trace: bool = False) -> Iterator[Answer]:
        """Answer one question after the other, telling `listener`; `trace` records which tokens."""
        with out_of_memory_explained(), self._threads():
            self.peak.restart()
            self.watch.restart()
            whole = self.model.encode(
                self.clip.frames.pixels, on_progress=partial(listener.progress, "Looking at the frames")
            )
            vision_s = self.watch.lap()
            tokens = self.method.compress(whole)
            prompts = [self._prompt(tokens, question) for question in questions]
            buffer, prompts, shared = self._share(prompts)
            prefill_s, decode_s = self.watch.lap(), self.clip.decode_s
            for question, prompt in zip(questions, prompts, strict=True):
                if shared:
                    buffer.rewind([shared])
                listener.question(question)
                run = _Run(self, tokens, prompt, buffer, shared)
                run.consume(listener.text)
                yield run.answer(question, run.times(decode_s, vision_s, prefill_s), trace)
                self.peak.restart()
                decode_s = vision_s = prefill_s = 0.0

    def _prompt(self, tokens: VisualTokens, question: str) -> Prompt:
        after = self.model.question_ids(question, self.clip.seconds, self.clip.duration_s)
        return self.model.prompt(tokens, after, self.method.positions)

    def _share(self, prompts: list[Prompt]) -> tuple[KVBuffer, list[Prompt], int]:
        """Prefill what all questions have in common; a single question is prefilled in one piece."""
        slots = max(map(len, prompts)) + self.stop.max_new_tokens
        if len(prompts) == 1:
            return KVBuffer.empty(self.model.language_model, 1, slots), prompts, 0
        at = min(_common(prompts), min(map(len, prompts)) - 1)
        shared = prompts[0].split(at)[0]
        return share(self.model.language_model, shared, slots), [prompt.split(at)[1] for prompt in prompts], at


class _Run:
    """One question on its way: collects what the steps show."""

    def __init__(self, session: Session, tokens: VisualTokens, prompt: Prompt, buffer: KVBuffer, shared: int) -> None:
        self.session, self.tokens, self.prompt, self.buffer, self.shared = session, tokens, prompt, buffer, shared
        self.stream = TextStream(session.model.decode)
        self.seconds: list[float] = []
        self.selections: list[Selection | None] = []
        self.scores: list[Tensor | None] = []
        self.ids: list[int] = []

    def consume(self, show: Callable[[str], None]) -> None:
        """Run the engine to the end, timing each step and showing its text."""
        session = self.session
        steps: Iterator[Step] = generate(
            session.model.language_model, [self.prompt], session.method, session.stop, session.sampling, self.buffer
        )
        for step, seconds in timed(steps, session.watch):
            self.seconds.append(seconds)
            self.selections.append(step.selection)
            self.scores.append(step.scores)
            token = step.tokens[0]
            assert token is not None  # a single row runs until it ends
            self.ids.append(token)
            if token not in session.stop.ids and (piece := self.stream.push(token)):
                show(piece)
        if rest := self.stream.finish():
            show(rest)

    def times(self, decode_video_s: float, vision_s: float, shared_prefill_s: float) -> Times:
        """Put the clock readings together."""
        prefill = shared_prefill_s + self.seconds[0]
        first_token = decode_video_s + vision_s + prefill
        later = self.seconds[1:]
        per_token = sorted(later)[len(later) // 2] if later else None
        decode = sum(later)
        return Times(decode_video_s, vision_s, prefill, first_token, decode, per_token, first_token + decode)

    def answer(self, question: str, times: Times, trace: bool) -> Answer:
        """Make the record."""
        read = [self._read(selection) for selection in self.selections]
        finish = "stop" if self.ids[-1] in self.session.stop.ids else "length"
        return Answer(
            question=question,
            answer=self.stream.text.strip(),
            finish=finish,
            tokens=self._counts(),
            steps=tuple(self._records(read)),
            time_s=times,
            memory_bytes=self._memory(),
            trace=self._trace(read) if trace else None,
        )

    def _counts(self) -> TokenCounts:
        grid, newlines = self.tokens.grid, self.prompt.newlines
        text = self.shared + len(self.prompt) - len(self.tokens) - newlines
        uncompressed = text + self.session.model.layout.length(grid)
        return TokenCounts(grid.total, len(self.tokens), newlines, text, len(self.ids), uncompressed)

    def _read(self, selection: Selection | None) -> Tensor:
        """Give what one step read, as positions among the prefill's visual tokens."""
        if selection is None:
            return torch.arange(len(self.tokens))
        index = selection.index[0]
        return (index if selection.valid is None else index[selection.valid[0]]).cpu()

    def _records(self, read: list[Tensor]) -> Iterator[StepRecord]:
        total = self.tokens.grid.total
        for number, (now, selection) in enumerate(zip(read, self.selections, strict=True)):
            recalled = int((~torch.isin(now, read[number - 1])).sum()) if number else 0
            changed = selection is not None and bool(selection.changed[0])
            yield StepRecord(number, len(now), round(len(now) / total, 6), recalled, changed)

    def _memory(self) -> Memory:
        session, counts = self.session, self._counts()
        per_token = session.model.language_model.kv_bytes_per_token
        # The last token is never run, so it takes no slot.
        uncompressed = (counts.prompt_uncompressed + counts.generated - 1) * per_token
        used = self.buffer.lengths[0] * per_token
        peak = session.peak
        return Memory(session.model.weight_bytes, used, uncompressed, peak.peak, peak.above_start, peak.of)

    def _trace(self, read: list[Tensor]) -> Trace:
        whole = VisualTokens.whole(torch.empty(*self.tokens.grid, 0))
        index = self.tokens.index.cpu()
        return Trace(
            frame=whole.frame.tolist(),
            row=whole.row.tolist(),
            col=whole.col.tolist(),
            prefill=index.tolist(),
            merged_into=self.tokens.survivor.tolist(),
            steps=[index[now].sort().values.tolist() for now in read],
            scores=[[] if row is None else row[0].tolist() for row in self.scores],
        )


def _common(prompts: list[Prompt]) -> int:
    """Count the positions at the start that all prompts share."""
    first, length = prompts[0], min(map(len, prompts))
    for prompt in prompts[1:]:
        same = (prompt.embeds[:length] == first.embeds[:length]).all(dim=1).tolist()
        length = same.index(False) if False in same else length
    return length


@contextmanager
def out_of_memory_explained() -> Iterator[None]:
    """Turn the several ways in which memory runs out into one error with a remedy."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _no_memory() from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise _no_memory() from error


def _no_memory() -> OutOfMemoryError:
    return OutOfMemoryError("the device ran out of memory", "Use fewer --frames, a higher -o k=, or a smaller --model")
