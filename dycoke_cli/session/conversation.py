"""A conversation about one video: each turn runs what is new in it, everything before is in the buffer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from dycoke_cli.capacity.context import answer_budget
from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import Stop, generate, share
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.session import Session
from dycoke_cli.session.trace import Recorder
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import out_of_memory_explained, suitable_threads
from dycoke_cli.system.measure import timed
from dycoke_cli.tokens import Prompt, VisualTokens

HEADROOM = 256  # slots for questions, before the buffer has to grow
ROOM = "/clear forgets the questions so far; fewer frames, with /frames N or --frames, leave more room"


class Spent(NamedTuple):
    """Seconds of work that was done before the first question; it is in the first answer's times."""

    decode_video_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0


NOTHING = Spent()


@dataclass(frozen=True)
class Turn:
    """A question and its answer."""

    question: str
    ids: tuple[int, ...]  # the answer's tokens, without the one that ended it
    answer: Answer
    reused: int  # prompt positions that were there from earlier turns
    recorder: Recorder

    def traced(self) -> Answer:
        """Give the answer with which tokens each of its steps read."""
        return replace(self.answer, trace=self.recorder.trace())


class Conversation:
    """Asks about an encoded video, one question after the other.

    A turn's prompt is the family's template over the whole conversation, the answers in the very tokens that were
    generated. What the buffer holds of it is not run again: the video and earlier questions as their prefill left
    them, earlier answers as their decode steps did. A method's selector is made anew for every turn, so every pruned
    token is a candidate again. A method that acts inside the prefill drops tokens by the question: it has no buffer
    to go on from, and prefills the whole conversation every turn.

    encoded: the uncompressed video. spent: the time that took. earlier: turns made with another method or other frames;
    they are prefilled as text before the next question. Raises ContextError if the video does not fit the context.
    """

    def __init__(
        self, session: Session, encoded: VisualTokens, spent: Spent = NOTHING, earlier: Sequence[Turn] = ()
    ) -> None:
        self.session, self.turns = session, list(earlier)
        self.buffer: KVBuffer | None = None
        with self._guarded():
            session.check_context([""])
            session.watch.restart()
            self.tokens = session.method.compress(encoded)
            if not self.prefills_anew:
                self._prefill_video()
            self.spent = spent._replace(prefill_s=session.watch.lap())

    @property
    def prefills_anew(self) -> bool:
        """Say whether every turn runs the whole conversation again."""
        return self.session.method.prefill_pruner() is not None

    @property
    def context(self) -> int:
        """How many positions the model knows."""
        return self.session.model.language_model.context

    def clear(self) -> None:
        """Forget all turns; the video stays."""
        self.turns = []
        if self.buffer is not None:
            self.buffer.rewind([self.video_end])

    def ask(self, question: str, callbacks: Callbacks, stopped: Callable[[], bool] = lambda: False) -> Turn:
        """Answer the next question, telling `callbacks`; `stopped` ends the answer after the step at hand.

        Raises ContextError where the model's context is full. Whatever is raised, the conversation is then as before.
        """
        session = self.session
        with self._guarded():
            session.watch.restart()
            callbacks.phase("prefill")
            prompt = self._prompt(question)
            room = answer_budget(
                self.context, prompt.next_position, session.stop.max_new_tokens, callbacks,
                "the conversation with this question", ROOM,
            )  # fmt: skip
            stop = replace(session.stop, max_new_tokens=room)
            filled = self._make_room(len(prompt) + stop.max_new_tokens)
            rest = prompt.split(filled)[1]
            recorder = Recorder(session.model, stop, self.tokens, rest, filled)
            spent = self.spent._replace(prefill_s=self.spent.prefill_s + session.watch.lap())
            try:
                interrupted = self._follow(rest, stop, recorder, callbacks, stopped)
            except BaseException:
                self._rewind(filled)
                raise
            # The last token is never run.
            self._rewind(filled + len(rest) + len(recorder.ids) - 1)
            answer = recorder.answer(question, recorder.times(*spent), session.peak, trace=False)
            if interrupted:
                answer = replace(answer, finish="interrupted")
        recorder.settle()
        ids = recorder.ids[:-1] if recorder.ids[-1] in stop.ids else recorder.ids
        turn = Turn(question, tuple(ids), answer, filled, recorder)
        self.turns.append(turn)
        self.spent = NOTHING
        session.peak.restart()
        return turn

    def _follow(
        self, rest: Prompt, stop: Stop, recorder: Recorder, callbacks: Callbacks, stopped: Callable[[], bool]
    ) -> bool:
        """Run one answer; says whether it was ended before its time."""
        session, interrupted = self.session, False
        model = session.model.language_model
        steps = generate(model, [rest], session.method, stop, session.sampling, self.buffer, session.graphs)
        for step, seconds in timed(steps, session.watch):
            callbacks.phase("decode")
            if piece := recorder.take(step.row(0), seconds):
                callbacks.text(piece)
            if stopped():
                interrupted = recorder.ids[-1] not in stop.ids
                break
        callbacks.phase("")
        if left := recorder.finish():
            callbacks.text(left)
        callbacks.answered(recorder.stream.text.strip())
        return interrupted

    @torch.inference_mode()
    def _prompt(self, question: str) -> Prompt:
        """Make the prompt of a fresh run over the whole conversation."""
        session, model = self.session, self.session.model
        questions = [*(turn.question for turn in self.turns), question]
        clip = session.video.clip
        ids = []
        for turn, following in zip(self.turns, questions[1:], strict=True):
            ids += [*turn.ids, *model.next_turn_ids(following)]
        opening = model.prompt_for(self.tokens, questions[0], clip.seconds, clip.duration_s, session.method.positions)
        further = torch.tensor(ids, dtype=torch.int64, device=opening.embeds.device)
        return opening.append_text(model.language_model.body.embed_tokens(further))

    def _prefill_video(self) -> None:
        """Prefill what comes up to the last visual token: the same, whatever is asked."""
        session, model = self.session, self.session.model.language_model
        prompt = self._prompt("")
        self.video_end = int(prompt.visual.max()) + 1
        slots = self.video_end + HEADROOM + session.stop.max_new_tokens
        self.buffer = session.graphs.empty_buffer(model, 1, slots)
        share(model, prompt.split(self.video_end)[0], self.buffer)

    def _make_room(self, slots: int) -> int:
        """Let the buffer hold `slots` positions, at least doubling it where it grows; gives how many are filled."""
        if self.buffer is None:
            return 0
        if self.buffer.slots < slots:
            wanted = max(slots, min(2 * self.buffer.slots, self.context))
            self.buffer = self.session.graphs.grown(self.buffer, wanted)
        return self.buffer.lengths[0]

    def _rewind(self, length: int) -> None:
        if self.buffer is not None:
            self.buffer.rewind([length])

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        model = self.session.model
        with ExitStack() as stack:
            stack.enter_context(out_of_memory_explained())
            stack.enter_context(suitable_threads(model.language_model.device, model.weight_bytes))
            yield
