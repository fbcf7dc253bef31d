"""A chat about one video, in which method and frames may change while model and conversation stay."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dycoke_cli.cache.store import open_cache
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.session.ask import Outcome
from dycoke_cli.session.frame_request import FEW_FRAMES
from dycoke_cli.session.load import describe
from dycoke_cli.session.pipeline import Opened, opening_video, report_frames, request_video
from dycoke_cli.session.question import check_question
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.path import readable_path
from dycoke_cli.video.reader import VideoReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.session.conversation import Conversation, Turn
    from dycoke_cli.session.session import Session
    from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class ChatTurn:
    """A question and its answer, as a transcript has them."""

    question: str
    answer: str
    method: str
    frames: int
    finish: str


class Chat:
    """Decodes, encodes and prefills a video, and answers one question after the other about it.

    Another method reuses the encoded video, other frames are decoded and encoded; both keep the conversation. A failed
    or interrupted change has no effect. Raises a DyCokeError for errors that a user can correct.
    """

    conversation: "Conversation"

    def __init__(self, video: str, settings: Settings, callbacks: Callbacks) -> None:
        self.video = video = readable_path(video)
        self.callbacks = callbacks
        self.said: list[ChatTurn] = []
        with opening_video(video, settings, callbacks, lambda: [_method(settings)], open_cache(settings)) as opened:
            self._begin(opened, settings)

    @property
    def frames(self) -> int:
        """Number of frames in use."""
        return len(self.opened.clip.frames)

    def ask(self, question: str, callbacks: Callbacks, stopped: "Callable[[], bool]" = lambda: False) -> "Turn":
        """Answer a question, reporting to `callbacks`; see `Conversation.ask`."""
        check_question(question)
        turn = self.conversation.ask(question, callbacks, stopped)
        answer = turn.answer
        self.said.append(ChatTurn(question, answer.answer, self.method_text, self.frames, answer.finish))
        return turn

    def clear(self) -> None:
        """Remove all turns; the video stays."""
        self.conversation.clear()
        self.since = 0

    @property
    def method_text(self) -> str:
        """The method and its options as written for `/method`."""
        options = ",".join(f"{key}={value}" for key, value in self.settings.options.items())
        return f"{self.settings.method}:{options}" if options else self.settings.method

    def use_method(self, text: str) -> None:
        """Continue with another method, `NAME` or `NAME:key=value,...`."""
        from dycoke_cli.methods.parsing import split_arm

        name, options = split_arm(text)
        settings = self.settings.model_copy(update={"method": name, "options": options, "retain": None})
        method = _method(settings)
        method.check(self.opened.model.facts)
        if method.needs_saliency and self.encoded.saliency is None:
            self._reopen(settings, method)
            return
        opened = replace(self.opened, methods=[method])
        self._converse(opened, _session(opened, settings), self.encoded)

    def use_frames(self, text: str) -> None:
        """Continue with another number of frames, spread evenly."""
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"{text!r} is no number of frames", "Write it like /frames 32")
        settings = self.settings.model_copy(update={"frames": int(text), "fps": None})
        self._reopen(settings, _method(settings))

    def outcome(self) -> Outcome:
        """Return the turns since method or frames last changed, with traces."""
        method = self.conversation.session.method
        return Outcome(
            frames=self.opened.clip.frames,
            model=describe(self.opened.checkpoint.name, self.opened.model),
            method={"name": method.name, "options": method.options()},
            answers=tuple(turn.traced() for turn in self.conversation.turns[self.since :]),
            baseline=(),
            load_model_s=self.opened.load_model_s,
            features=self.opened.video.features,
        )

    def _reopen(self, settings: Settings, method: "Method") -> None:
        """Sample and encode the video anew, from the cache where it has that."""
        model, checkpoint = self.opened.model, self.opened.checkpoint
        resampled = (settings.frames, settings.fps) != (self.settings.frames, self.settings.fps)
        with VideoReader(settings.decoder, settings.video_timeout) as reader:
            video = request_video(self.video, settings, checkpoint, reader, open_cache(settings))
            video.prepare(model, method.needs_saliency)
            video.wait(lambda done, total: self.callbacks.progress("Decoding the video", done, total))
            if resampled:
                report_frames(video, settings, self.callbacks)
            else:
                video.warn(lambda warning: None)  # they were reported when the chat began
            self._begin(replace(self.opened, methods=[method], video=video), settings)

    def _begin(self, opened: Opened, settings: Settings) -> None:
        """Encode the video while its last frames are decoded, and prefill it."""
        session = _session(opened, settings)
        session.watch.restart()
        encoded = session.encode(self.callbacks)
        pending = opened.video.pending
        vision_s = session.watch.lap() - pending.waited_s
        opened.complete(self.callbacks)
        self._converse(opened, session, encoded, pending.seconds, vision_s)
        opened.video.save(self.callbacks.notice)

    def _converse(
        self,
        opened: Opened,
        session: "Session",
        encoded: "VisualTokens",
        decode_video_s: float = 0.0,
        vision_s: float = 0.0,
    ) -> None:
        """Prefill the video, and take over the conversation so far."""
        from dycoke_cli.session.conversation import Conversation, Spent

        earlier = self.conversation.turns if hasattr(self, "conversation") else []
        self.callbacks.progress("Reading the video", 0, 0)
        tokens = encoded.to(opened.model.language_model.device)
        conversation = Conversation(session, tokens, Spent(decode_video_s, vision_s), earlier)
        name = session.method.name
        if conversation.prefills_anew:
            self.callbacks.notice(
                f"{name} drops tokens depending on the question: every turn runs the whole conversation anew"
            )
        if len(opened.clip.frames) < FEW_FRAMES and name != "full":
            self.callbacks.notice(f"Fewer than {FEW_FRAMES} frames leave little to compare: expect little of it")
        self.opened, self.settings, self.conversation = opened, session.settings, conversation
        self.encoded = encoded.to("cpu")  # for another method; on the device it would take memory from this one
        self.since = len(earlier)


def _session(opened: Opened, settings: Settings) -> "Session":
    """Make the session of the first method. Raises ContextError where the video does not fit the model's context."""
    from dycoke_cli.session.session import Session

    session = Session(opened.model, opened.video, opened.methods[0], settings)
    session.check_context([""])
    return session


def _method(settings: Settings) -> "Method":
    from dycoke_cli.methods.options import make_method

    return make_method(settings.method, settings.options)
