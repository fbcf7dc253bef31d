"""Answer one question about each of several videos in one batch, and measure each answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from dycoke_cli.capacity.context import check_context
from dycoke_cli.capacity.footprint import Footprint
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.generate import generate
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import HD, Family
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.base_session import BaseSession
from dycoke_cli.session.session import ENCODING
from dycoke_cli.session.trace import Recorder
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.free_memory import free_bytes
from dycoke_cli.system.measure import timed
from dycoke_cli.tokens import Prompt, VisualTokens

SILENT = Callbacks()


@dataclass(frozen=True)
class Row:
    """One question about one video."""

    video: Video
    question: str


class BatchSession(BaseSession):
    """Runs a method over several videos at once; each row's answer is the one it would get alone.

    The videos may differ in length: each is encoded and compressed by itself, and its visual tokens are released before
    the next one is encoded. A row whose answer has ended leaves the batch.
    """

    def __init__(self, model: Family, method: Method, settings: Settings) -> None:
        super().__init__(model, method, settings)
        self.method = method

    def answers(self, rows: Sequence[Row], callbacks: Callbacks = SILENT, trace: bool = False) -> list[Answer]:
        """Answer all rows in one batch, in their order.

        Times and peaks of each answer are those of the batch: encoding, prefill, and the steps in which the row takes
        part. Raises OutOfMemoryError, without any answer, if the batch does not fit; a smaller one may. Raises
        ContextError, before anything is encoded, if a row does not fit the model's context.
        """
        if not rows:
            return []
        with self.running():
            self.peak.restart(self.graphs.kept_bytes)
            self.watch.restart()
            tokens, prompts = self._encode(rows, callbacks)
            vision_s = self.watch.lap()
            callbacks.progress("Answering", 0, len(rows))
            recorders = [
                Recorder(self.model, self.stop_for(prompt, callbacks, f"method {self.method.name}"), own, prompt, 0)
                for own, prompt in zip(tokens, prompts, strict=True)
            ]
            self._follow_all(prompts, recorders, callbacks)
            return [
                recorder.answer(
                    row.question, recorder.times(row.video.pending.seconds, vision_s, 0.0), self.peak, trace
                )
                for row, recorder in zip(rows, recorders, strict=True)
            ]

    def footprint(self, frames: int, question: str = "") -> Footprint:
        """Return the memory footprint of a row of so many frames, in HD where their size matters."""
        grid = self.model.grid(frames, HD)
        method = with_retain(self.method, self.settings.retain, self.model.facts, grid)
        return Footprint.of(self.model, method, grid, frames, question, self.stop, self.graphs.bucket)

    def rows_that_fit(self, frames: int, question: str = "", free: int | None = None) -> int:
        """Return how many rows of so many frames fit into `free` bytes (default: the device's free memory), at least 1.

        An estimate: other processes use the device too, and `answers` may still raise OutOfMemoryError.
        """
        if free is None:  # buffers of an earlier batch are reused
            free = free_bytes(self.model.language_model.device) + self.graphs.kept_bytes
        return self.footprint(frames, question).rows(free)

    def _encode(self, rows: Sequence[Row], callbacks: Callbacks) -> tuple[list[VisualTokens], list[Prompt]]:
        """Return each row's visual tokens, without their features, and its prompt."""
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
        """Return the method with the settings' budget for a row's video."""
        clip = row.video.clip
        grid = self.model.grid(len(clip.frames), clip.size)
        return with_retain(self.method, self.settings.retain, self.model.facts, grid)

    def _follow_all(self, prompts: list[Prompt], recorders: list[Recorder], callbacks: Callbacks) -> None:
        """Run the batch; each recorder takes the steps of its row."""
        # A row at the end of the context keeps running beside the others; its further steps are not recorded.
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
