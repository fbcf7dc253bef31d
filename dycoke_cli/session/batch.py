"""Several clips before one model, each with its own question: measured answers out, side by side."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from dycoke_cli.capacity.context import FEWER, answer_budget, check_context
from dycoke_cli.capacity.footprint import Footprint
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.graph_store import GraphStore
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import HD, Family
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.session import ENCODING
from dycoke_cli.session.trace import Recorder
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import out_of_memory_explained, suitable_threads
from dycoke_cli.system.free_memory import free_bytes
from dycoke_cli.system.measure import PeakMemory, Stopwatch, timed
from dycoke_cli.tokens import Prompt, VisualTokens

SILENT = Callbacks()


@dataclass(frozen=True)
class Row:
    """One question about one video."""

    video: Video
    question: str


class BatchSession:
    """Runs a method over several clips at once; each row's answer is the one it would get alone.

    The clips may differ in length, and so may what is left of them: a row is encoded and compressed by itself, and its
    visual tokens are dropped from memory before the next one's are made. Every method of the catalogue runs in a
    batch. A row that has ended takes no further part.
    """

    def __init__(self, model: Family, method: Method, settings: Settings) -> None:
        method.check(model.facts)
        self.model, self.method, self.settings = model, method, settings
        self.stop = Stop(model.stop_ids, settings.max_new_tokens)
        self.sampling = Sampling(settings.temperature, settings.top_p, settings.seed, settings.repetition_penalty)
        device = model.language_model.device
        self.graphs = GraphStore.of(model.language_model, settings.compile)
        self.watch, self.peak = Stopwatch(device), PeakMemory(device)

    def answers(self, rows: Sequence[Row], callbacks: Callbacks = SILENT, trace: bool = False) -> list[Answer]:
        """Answer all rows in one batch, in their order.

        What the rows do together is in the times and peaks of each of them: encoding, prefill and every step that a
        row takes part in last as long for one as for all. Raises OutOfMemoryError where the batch does not fit; no
        answer is then given, and a smaller batch may. Raises ContextError, before anything is encoded, where one row
        does not fit the model's context.
        """
        if not rows:
            return []
        with self._run():
            self.peak.restart(self.graphs.kept_bytes)
            self.watch.restart()
            tokens, prompts = self._encode(rows, callbacks)
            vision_s = self.watch.lap()
            callbacks.progress("Answering", 0, len(rows))
            recorders = [
                Recorder(self.model, self._stop(prompt, callbacks), own, prompt, 0)
                for own, prompt in zip(tokens, prompts, strict=True)
            ]
            self._follow(prompts, recorders, callbacks)
            return [
                recorder.answer(
                    row.question, recorder.times(row.video.pending.seconds, vision_s, 0.0), self.peak, trace
                )
                for row, recorder in zip(rows, recorders, strict=True)
            ]

    def footprint(self, frames: int, question: str = "") -> Footprint:
        """Say what a row of so many frames takes; where their size matters, of HD ones."""
        grid = self.model.grid(frames, HD)
        method = with_retain(self.method, self.settings.retain, self.model.facts, grid)
        return Footprint.of(self.model, method, grid, frames, question, self.stop, self.graphs.bucket)

    def rows_that_fit(self, frames: int, question: str = "", free: int | None = None) -> int:
        """Say how many rows of so many frames fit into `free` bytes, by default what the device has left; at least 1.

        It is arithmetic, not a promise: others use the device too. OutOfMemoryError says that fewer would have fitted.
        """
        if free is None:  # what an earlier batch has left will be used again
            free = free_bytes(self.model.language_model.device) + self.graphs.kept_bytes
        return self.footprint(frames, question).rows(free)

    def _encode(self, rows: Sequence[Row], callbacks: Callbacks) -> tuple[list[VisualTokens], list[Prompt]]:
        """Make each row's prompt; of its visual tokens only which ones they are is kept."""
        tokens, prompts = [], []
        methods = [self._method(row) for row in rows]
        for method, row in zip(methods, rows, strict=True):
            check_context(self.model, method, self.settings, row.video.clip, [row.question])
        for number, (method, row) in enumerate(zip(methods, rows, strict=True)):
            callbacks.progress(ENCODING, number, len(rows))
            clip = row.video.clip
            left = row.video.compress(self.model, partial(self._method, row), None, callbacks.notice)
            prompts.append(self.model.prompt_for(left, row.question, clip.seconds, clip.duration_s, method.positions))
            tokens.append(replace(left, features=left.features[:, :0], deepstack=None))
        return tokens, prompts

    def _method(self, row: Row) -> Method:
        """Let the method keep what the settings say of a row's video."""
        clip = row.video.clip
        grid = self.model.grid(len(clip.frames), clip.size)
        return with_retain(self.method, self.settings.retain, self.model.facts, grid)

    def _stop(self, prompt: Prompt, callbacks: Callbacks) -> Stop:
        """Say when a row's answer ends: at the end of the model's context at the latest."""
        room = answer_budget(
            self.model.language_model.context, prompt.next_position, self.stop.max_new_tokens, callbacks,
            f"method {self.method.name}", FEWER,
        )  # fmt: skip
        return replace(self.stop, max_new_tokens=room)

    def _follow(self, prompts: list[Prompt], recorders: list[Recorder], callbacks: Callbacks) -> None:
        """Run the batch and let each row's recorder see the steps that the row takes part in."""
        # A row that has come to the end of the context runs on beside the others, and nobody looks at it.
        room = max(recorder.stop.max_new_tokens for recorder in recorders)
        stop = replace(self.stop, max_new_tokens=room)
        steps = generate(self.model.language_model, prompts, self.method, stop, self.sampling, graphs=self.graphs)
        ended = 0
        for step, seconds in timed(steps, self.watch):
            for number, recorder in enumerate(recorders):
                if step.tokens[number] is not None and len(recorder.ids) < recorder.stop.max_new_tokens:
                    recorder.take(step.row(number), seconds)
            if (now := sum(token is None for token in step.tokens)) > ended:
                ended = now
                callbacks.progress("Answering", ended, len(prompts))
        for recorder in recorders:
            recorder.finish()
            callbacks.answered(recorder.stream.text.strip())

    @contextmanager
    def _run(self) -> Iterator[None]:
        threads: AbstractContextManager[None] = suitable_threads(
            self.model.language_model.device, self.model.weight_bytes
        )
        with ExitStack() as stack:
            stack.enter_context(out_of_memory_explained())
            stack.enter_context(threads)
            yield
