"""A conversation about one video: each turn prefills only what is new, the rest is in the KV buffer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from dycoke_cli.engine.cache import KVBuffer
from dycoke_cli.engine.generate import share
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.session import Session
from dycoke_cli.session.trace import Recorder
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.tokens import Prompt, VisualTokens

HEADROOM = 256  # slots for questions before the buffer grows
REMEDY = "/clear forgets the questions so far; fewer frames, with /frames N or --frames, leave more room"


class Spent(NamedTuple):
    """Seconds of work before the first question; the first answer's times include them."""

    decode_video_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0


NOTHING = Spent()


@dataclass(frozen=True)
class Turn:
    """A question and its answer."""

    question: str
    ids: tuple[int, ...]  # tokens of the answer, without the one that ended it
    answer: Answer
    reused: int  # prompt positions that were in the buffer
    recorder: Recorder

    def traced(self) -> Answer:
        """Return the answer with its trace."""
        return replace(self.answer, trace=self.recorder.trace())


class Conversation:
    """Answers questions about an encoded video, one after the other.

    A turn's prompt is the family's template over the whole conversation, with the answers as the tokens that were
    generated. The keys and values of the video, of earlier questions and of earlier answers stay in the buffer. Each
    turn has a new selector, so that every pruned token is a candidate again. A method that prunes inside the prefill
    chooses tokens by the question: its turns prefill the whole conversation.

    encoded: the uncompressed video. spent: the time that took. earlier: turns made with another method or other frames;
    they are prefilled as text before the next question. Raises ContextError if the video does not fit the context.
    """

    def __init__(
        self, session: Session, encoded: VisualTokens, spent: Spent = NOTHING, earlier: Sequence[Turn] = ()
    ) -> None:
        self.session, self.turns = session, list(earlier)
        self.buffer: KVBuffer | None = None
        with self.session.running():
            session.check_context([""])
            session.watch.restart()
            self.tokens = session.method.compress(encoded)
            if not self.prefills_anew:
                self._prefill_video()
            self.spent = spent._replace(prefill_s=session.watch.lap())

    @property
    def prefills_anew(self) -> bool:
        """Whether every turn prefills the whole conversation."""
        return self.session.method.prefill_pruner() is not None

    @property
    def context(self) -> int:
        """Positions of the model's context."""
        return self.session.model.language_model.context

    def clear(self) -> None:
        """Remove all turns; the video stays."""
        self.turns = []
        if self.buffer is not None:
            self.buffer.rewind([self.video_end])

    def ask(self, question: str, callbacks: Callbacks, stopped: Callable[[], bool] = lambda: False) -> Turn:
        """Answer the next question, reporting to `callbacks`; when `stopped` returns True, the answer ends.

        Raises ContextError if the model's context is full. After any exception the conversation is as before.
        """
        session = self.session
        with self.session.running():
            session.watch.restart()
            callbacks.phase("prefill")
            prompt = self.prompt(question)
            stop = session.stop_for(prompt, callbacks, "the conversation with this question", REMEDY)
            filled = self._make_room(len(prompt) + stop.max_new_tokens)
            rest = prompt.split(filled)[1]
            recorder = Recorder(session.model, stop, self.tokens, rest, filled)
            spent = self.spent._replace(prefill_s=self.spent.prefill_s + session.watch.lap())
            try:
                interrupted = session.follow(rest, session.method, self.buffer, recorder, callbacks, stopped)
            except BaseException:
                self._rewind(filled)
                raise
            # The last token was not run through the model.
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

    @torch.inference_mode()
    def prompt(self, question: str) -> Prompt:
        """Build the prompt of the whole conversation."""
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
        """Prefill the prompt up to the last visual token: that part does not depend on the question."""
        session, model = self.session, self.session.model.language_model
        prompt = self.prompt("")
        self.video_end = int(prompt.visual.max()) + 1
        slots = self.video_end + HEADROOM + session.stop.max_new_tokens
        self.buffer = session.graphs.empty_buffer(model, 1, slots)
        share(model, prompt.split(self.video_end)[0], self.buffer, session.graphs)

    def _make_room(self, slots: int) -> int:
        """Grow the buffer to hold `slots` positions, at least doubling it; return how many are filled."""
        if self.buffer is None:
            return 0
        if self.buffer.slots < slots:
            wanted = max(slots, min(2 * self.buffer.slots, self.context))
            self.buffer = self.session.graphs.grown(self.buffer, wanted)
        return self.buffer.lengths[0]

    def _rewind(self, length: int) -> None:
        if self.buffer is not None:
            self.buffer.rewind([length])
