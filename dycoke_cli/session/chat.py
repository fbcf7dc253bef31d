"""A chat about one video: the model stays, the method and the look at the video may change on the way."""

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dycoke_cli.cache.lookup import look_up
from dycoke_cli.cache.store import open_cache
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.models import checkpoints
from dycoke_cli.session.ask import Outcome
from dycoke_cli.session.pipeline import FEW_FRAMES, Opened, describe, opening_video, sampling_of, start_reading, tell_of
from dycoke_cli.session.question import check_question
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.clip import Clip
from dycoke_cli.video.frame_buffer import FramesReplacedError
from dycoke_cli.video.path import readable_path
from dycoke_cli.video.reader import VideoReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from dycoke_cli.methods.protocol import Method
    from dycoke_cli.session.conversation import Conversation, Turn
    from dycoke_cli.tokens import VisualTokens


@dataclass(frozen=True)
class Said:
    """A question and its answer, as a transcript has them."""

    question: str
    answer: str
    method: str
    frames: int
    finish: str


class Chat:
    """Decodes, encodes and prefills a video, and answers one question after the other about it.

    Changing the method goes on from the encoded video, changing the frames decodes and encodes anew; both keep the
    conversation. What fails or is interrupted changes nothing. Raises a DyCokeError for whatever a user can act on.
    """

    conversation: "Conversation"

    def __init__(self, video: str, settings: Settings, callbacks: Callbacks) -> None:
        self.video = video = readable_path(video)
        self.callbacks = callbacks
        self.said: list[Said] = []
        cache = open_cache(settings)
        with opening_video(video, settings, callbacks, lambda: [_method(settings)], cache) as opened:
            try:
                self._begin(opened, settings)
            except FramesReplacedError:
                self._begin(opened.complete(settings, callbacks), settings)

    @property
    def frames(self) -> int:
        """How many frames the model looks at."""
        return len(self.opened.frames)

    def ask(self, question: str, callbacks: Callbacks, stopped: "Callable[[], bool]" = lambda: False) -> "Turn":
        """Answer a question, telling `callbacks`; see `Conversation.ask`."""
        check_question(question)
        turn = self.conversation.ask(question, callbacks, stopped)
        answer = turn.answer
        self.said.append(Said(question, answer.answer, self.method_text, self.frames, answer.finish))
        return turn

    def clear(self) -> None:
        """Forget the conversation; the video stays."""
        self.conversation.clear()
        self.since = 0

    @property
    def method_text(self) -> str:
        """The method as `/method` takes it."""
        options = ",".join(f"{key}={value}" for key, value in self.settings.options.items())
        return f"{self.settings.method}:{options}" if options else self.settings.method

    def use_method(self, text: str) -> None:
        """Go on with another method, `NAME` or `NAME:key=value,...`."""
        from dycoke_cli.methods.parsing import split_arm

        name, options = split_arm(text)
        settings = self.settings.model_copy(update={"method": name, "options": options, "retain": None})
        method = _method(settings)
        method.check(self.opened.model.facts)
        if method.needs_saliency and self.encoded.saliency is None:
            self._look_again(settings, method)
        else:
            self._converse(replace(self.opened, methods=[method], look=None), settings, self.encoded, 0.0, 0.0)

    def use_frames(self, text: str) -> None:
        """Look at so many frames, spread evenly."""
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"{text!r} is no number of frames", "Write it like /frames 32")
        settings = self.settings.model_copy(update={"frames": int(text), "fps": None})
        self._look_again(settings, _method(settings))

    def outcome(self) -> Outcome:
        """Give the turns since method or frames last changed, with which tokens their steps read."""
        method = self.conversation.session.method
        return Outcome(
            frames=self.opened.frames,
            model=describe(self.opened.name, self.opened.model),
            method={"name": method.name, "options": method.options()},
            answers=tuple(turn.traced() for turn in self.conversation.turns[self.since :]),
            baseline=(),
            load_model_s=self.opened.load_model_s,
            features=self.features,
        )

    def _look_again(self, settings: Settings, method: "Method") -> None:
        """Look at the video in another way, from the cache where it has that."""
        opened, callbacks, cache = self.opened, self.callbacks, open_cache(settings)
        checkpoint = checkpoints.locate(opened.name)
        sampling = sampling_of(settings, checkpoint.default_frames, rated=os.path.isdir(self.video))
        look = look_up(cache, self.video, sampling, settings, checkpoint) if cache is not None else None
        with VideoReader(settings.decoder, settings.video_timeout) as reader:
            pending = None
            if look is not None and look.entry is not None:
                pending = look.read(opened.model, method.needs_saliency)
            if pending is None:
                pending = start_reading(reader, self.video, settings, checkpoint.default_frames)
            frames = pending.result(lambda done, total: callbacks.progress("Decoding the video", done, total))
            clip = Clip.of(frames, settings.start, settings.end, pending.seconds)
            if (settings.frames, settings.fps) != (self.settings.frames, self.settings.fps):
                tell_of(frames, clip, settings, sampling, callbacks)
            again = replace(opened, methods=[method], frames=frames, clip=clip, pending=pending, look=look)
            self._begin(again, settings)

    def _begin(self, opened: Opened, settings: Settings) -> None:
        """Encode the video, wait for what is still coming of it, and prefill it."""
        from dycoke_cli.session.session import Session

        session = Session(opened.model, opened.clip, opened.methods[0], settings, opened.look)
        session.check_context([""])
        session.watch.restart()
        encoded = session.encode(self.callbacks)
        vision_s = session.watch.lap() - opened.clip.waited_s
        opened = opened.complete(settings, self.callbacks)
        self._converse(opened, settings, encoded, opened.clip.decode_s, vision_s)
        look = opened.look
        self.features = "computed" if look is None or look.tokens is None else "cache"
        if look is not None and (trouble := look.keep(opened.frames)) is not None:
            self.callbacks.notice(trouble)

    def _converse(
        self, opened: Opened, settings: Settings, encoded: "VisualTokens", decode_video_s: float, vision_s: float
    ) -> None:
        """Prefill the video, and take the conversation so far over."""
        from dycoke_cli.session.conversation import Conversation, Spent
        from dycoke_cli.session.session import Session

        model, method = opened.model, opened.methods[0]
        earlier = self.conversation.turns if hasattr(self, "conversation") else []
        self.callbacks.progress("Reading the video", 0, 0)
        session = Session(model, opened.clip, method, settings)
        tokens = encoded.to(model.language_model.device)
        conversation = Conversation(session, tokens, Spent(decode_video_s, vision_s), earlier)
        if conversation.prefills_anew:
            self.callbacks.notice(
                f"{method.name} drops tokens depending on the question: every turn runs the whole conversation anew"
            )
        if len(opened.frames) < FEW_FRAMES and method.name != "full":
            self.callbacks.notice(f"Fewer than {FEW_FRAMES} frames leave little to compare: expect little of it")
        self.opened, self.settings, self.conversation = opened, settings, conversation
        self.encoded = encoded.to("cpu")  # for another method; the device is for the one that runs
        self.since = len(earlier)


def _method(settings: Settings) -> "Method":
    from dycoke_cli.methods.options import make_method

    return make_method(settings.method, settings.options)
