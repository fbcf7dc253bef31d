"""Answer questions about one video with one method, and measure each answer."""

from collections.abc import Iterator, Sequence
from functools import partial

from dycoke_cli.capacity.context import check_context
from dycoke_cli.config.settings import Settings
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Stop, generate, share
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.protocol import Method
from dycoke_cli.models.families.family import Family
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.base_session import BaseSession
from dycoke_cli.session.trace import Recorder
from dycoke_cli.session.video import WARM_UP_FRAMES, Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.tokens import Grid, Prompt, VisualTokens

ENCODING = "Encoding the frames"


class Session(BaseSession):
    """Runs a method over one video: encodes and prefills it once, then answers each question from there.

    Times and memory peaks are measured for every question; those of the first include the shared work.
    """

    def __init__(self, model: Family, video: Video, method: Method, settings: Settings) -> None:
        super().__init__(model, method, settings)
        self.video, self._asked = video, method
        self._budgeted = self._with_budget()
        self._fitting: set[str] = set()  # questions that are known to fit the model's context

    @property
    def method(self) -> Method:
        """The method, with options that keep the share of the video that `settings.retain` asks for."""
        if self._budgeted[0] != self._grid():  # the decoder was replaced, and the other one has other frames
            self._budgeted, self._fitting = self._with_budget(), set()
        return self._budgeted[1]

    def _with_budget(self) -> tuple[Grid, Method]:
        grid = self._grid()
        return grid, with_retain(self._asked, self.settings.retain, self.model.facts, grid)

    def _grid(self) -> Grid:
        clip = self.video.clip
        return self.model.grid(len(clip.frames), clip.size)

    def check_context(self, questions: Sequence[str], subject: str | None = None, instead: str = "") -> None:
        """Raise ContextError if a question does not fit the model's context; see `context.check_context`."""
        unchecked = [question for question in questions if question not in self._fitting]
        if unchecked:
            check_context(self.model, self.method, self.settings, self.video.clip, unchecked, subject, instead)
            self._fitting.update(unchecked)

    def warm_up(self) -> None:
        """Run a few frames and two tokens, so that one-time costs are not part of measured times."""
        with self.running():
            few = self.video.compress_few(self.model, self.method)
            prompt, stop = self._prompt(few, "", WARM_UP_FRAMES), Stop(frozenset(), 2)
            for _ in generate(
                self.model.language_model, [prompt], self.method, stop, self.sampling, graphs=self.graphs
            ):
                pass

    def encode(self, callbacks: Callbacks, saliency: bool = False) -> VisualTokens:
        """Encode the video; the result serves the sessions of every method over it.

        saliency: compute it even if this session's method needs none.
        """
        with self.running():
            progress = partial(callbacks.progress, ENCODING)
            return self.video.encode(self.model, progress, saliency or self.method.needs_saliency, callbacks.notice)

    def answers(
        self, questions: Sequence[str], callbacks: Callbacks, trace: bool = False, encoded: VisualTokens | None = None
    ) -> Iterator[Answer]:
        """Answer one question after the other, reporting to `callbacks`; trace: record which tokens each step reads.

        encoded: the result of `encode`; times and peaks then exclude decoding and encoding. Raises ContextError, before
        anything runs, if a question does not fit the model's context; an answer ends early at the end of the context.
        """
        with self.running():
            self.check_context(questions)
            self.peak.restart(self.graphs.kept_bytes)
            self.watch.restart()
            waited_s = self.video.pending.waited_s
            callbacks.phase("vision" if encoded is None else "prefill")
            if encoded is None:
                progress = partial(callbacks.progress, ENCODING)
                tokens = self.video.compress(self.model, lambda: self.method, progress, callbacks.notice)
                # Waiting for frames counts as decoding.
                pending = self.video.pending
                decode_s, vision_s = pending.seconds, self.watch.lap() - (pending.waited_s - waited_s)
            else:
                tokens, decode_s, vision_s = self.method.compress(encoded), 0.0, 0.0
            callbacks.progress("Reading the video", 0, 0)
            callbacks.phase("prefill")
            prompts = [self._prompt(tokens, question) for question in questions]
            subject = f"method {self.method.name}"
            stops = [self.stop_for(prompt, callbacks, subject) for prompt in prompts]
            buffer, prompts, shared = self._share(prompts)
            prefill_s = self.watch.lap()
            for question, prompt, stop in zip(questions, prompts, stops, strict=True):
                callbacks.question(question)
                callbacks.phase("prefill")
                recorder = Recorder(self.model, stop, tokens, prompt, shared)
                if buffer is not None:
                    buffer.rewind([shared])
                self.follow(prompt, self.method, buffer, recorder, callbacks)
                yield recorder.answer(question, recorder.times(decode_s, vision_s, prefill_s), self.peak, trace)
                self.peak.restart()
                decode_s = vision_s = prefill_s = 0.0

    def _prompt(self, tokens: VisualTokens, question: str, frames: int | None = None) -> Prompt:
        clip = self.video.clip
        return self.model.prompt_for(tokens, question, clip.seconds[:frames], clip.duration_s, self.method.positions)

    def _share(self, prompts: list[Prompt]) -> tuple[KVBuffer | None, list[Prompt], int]:
        """Prefill what all prompts begin with; return the buffer, the rest of each prompt, and the shared length."""
        if self.method.prefill_pruner() is not None:
            return None, prompts, 0  # which tokens it drops depends on the question
        slots = max(map(len, prompts)) + self.stop.max_new_tokens
        buffer = self.graphs.empty_buffer(self.model.language_model, 1, slots)
        if len(prompts) == 1:
            return buffer, prompts, 0
        at = min(_common(prompts), min(map(len, prompts)) - 1)
        share(self.model.language_model, prompts[0].split(at)[0], buffer, self.graphs)
        return buffer, [prompt.split(at)[1] for prompt in prompts], at


def _common(prompts: list[Prompt]) -> int:
    """Count the positions at the start that are equal in all prompts."""
    first, length = prompts[0], min(map(len, prompts))
    for prompt in prompts[1:]:
        same = (prompt.embeds[:length] == first.embeds[:length]).all(dim=1).tolist()
        length = same.index(False) if False in same else length
    return length
