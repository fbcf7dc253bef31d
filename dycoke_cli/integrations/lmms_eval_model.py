"""The model class of dycoke for lmms-eval: answers its requests and reports token retention.

Only lmms-eval imports this module; it depends on accelerate and loguru, so they are installed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from loguru import logger
from pydantic import ValidationError

from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import ContextError, DyCokeError, UsageError, VideoError
from dycoke_cli.integrations.lmms_eval_request import VideoRequest, read_request, settings_for
from dycoke_cli.integrations.retention import averages
from dycoke_cli.methods.options import make_method
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.frame_request import start_decoding
from dycoke_cli.session.load import choose_checkpoint, load_model
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.video.reader import VideoReader


def _settings(values: dict[str, Any]) -> Settings:
    """Validate --model_args. Raises UsageError."""
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]} is {first['input']!r}: {first['msg']}", "Correct --model_args") from None


@dataclass(frozen=True)
class Reply:
    """The answer to one request; None where its video cannot be read or does not fit the context."""

    request: VideoRequest
    answer: Answer | None
    text: str

    @property
    def result(self) -> GenerationResult:
        """The reply in lmms-eval's type; its input tokens are those that entered the language model."""
        if self.answer is None:
            return GenerationResult(text="", token_counts=None)
        counts = self.answer.tokens
        entered = counts.visual_prefill + counts.newline + counts.text
        return GenerationResult(text=self.text, token_counts=TokenCounts(entered, counts.generated))


def _unanswered(group: Sequence[VideoRequest], error: DyCokeError) -> list[Reply]:
    """Log why a video cannot be asked about, and return empty replies."""
    logger.error(f"{error.message} Its {len(group)} answers are empty. {error.remedy}")
    return [Reply(request, None, "") for request in group]


class DyCokeModel(lmms):
    """Answers lmms-eval's chat requests about videos.

    pretrained: a name, folder or hub id, as for `--model`. Every other argument is a setting of `dycoke ask`
    (frames=32) or, if no setting has its name, an option of the method (k=0.7). Raises a DyCokeError.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = "auto",
        device: str | None = None,
        batch_size: int | str | None = 1,
        max_batch_size: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        if str(batch_size) != "1":
            raise UsageError(f"batch_size is {batch_size}: questions are asked one by one", "Use --batch_size 1")
        given = {key: str(value) for key, value in arguments.items()}
        options = {key: given.pop(key) for key in [*given] if key not in Settings.model_fields}
        device = self._share_out(device)
        self.settings = _settings({**given, "model": pretrained, "options": options, "device": device or "auto"})
        self.method = make_method(self.settings.method, self.settings.options)
        self.checkpoint = choose_checkpoint(self.settings)
        self.model = load_model(self.checkpoint, self.settings, [self.method])
        self.tokenizer = self.model.tokenizer
        self.batch_size = 1

    def _share_out(self, device: str | None) -> str | None:
        """Set rank and world size, and return the GPU, where `accelerate launch` started one process per GPU."""
        from accelerate import Accelerator

        accelerator = Accelerator()
        if accelerator.num_processes == 1:
            return device
        self.accelerator = accelerator
        self._rank, self._world_size = accelerator.process_index, accelerator.num_processes
        return f"cuda:{accelerator.local_process_index}"

    @property
    def device(self) -> Any:
        """The device of the model."""
        return self.model.language_model.device

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer requests; those about one video share its decoding, encoding and prefill.

        Where a video cannot be read, or does not fit the model's context with its questions, the answers are empty, the
        error is logged, and the results count them as unreadable.
        """
        began = time.perf_counter()
        groups: dict[Any, list[VideoRequest]] = {}
        for place, request in enumerate(requests):
            parsed = read_request(place, request.args, self.task_dict)
            groups.setdefault(parsed.group, []).append(parsed)
        replies: list[Reply] = []
        with VideoReader(self.settings.decoder, self.settings.video_timeout) as reader:
            for group in groups.values():
                replies += self._about_one_video(reader, group)
                logger.info(f"dycoke: {len(replies)} of {len(requests)} answered")
        seconds = time.perf_counter() - began
        answers = [reply.answer for reply in replies if reply.answer is not None]
        generated = sum(answer.tokens.generated for answer in answers)
        unreadable = {"unreadable": len(replies) - len(answers)}
        # Written to the results file, under `throughput`.
        log_metrics(seconds, generated, generated / seconds, {**averages(answers), **unreadable})
        return [reply.result for reply in sorted(replies, key=lambda reply: reply.request.place)]

    def _about_one_video(self, reader: VideoReader, group: Sequence[VideoRequest]) -> list[Reply]:
        """Answer all requests about one video."""
        first = group[0]
        settings = settings_for(self.settings, first)
        try:
            with first.source() as source:
                pending = start_decoding(reader, source, settings, self.checkpoint.default_frames)
                frames = pending.result()
        except VideoError as error:
            return _unanswered(group, error)
        for warning in frames.info.warnings:
            logger.warning(f"{first.video}: {warning}")
        video = Video.of(frames, settings.start, settings.end, pending.seconds)
        session = Session(self.model, video, self.method, settings)
        questions = [request.question for request in group]
        try:
            session.check_context(questions)
        except ContextError as error:
            return _unanswered(group, error)
        replies = []
        for request, answer in zip(group, session.answers(questions, Callbacks()), strict=True):
            text = request.cut(answer.answer)
            self.cache_hook.add_partial("generate_until", (request.context, request.generation), text)
            replies.append(Reply(request, answer, text))
        return replies

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not supported: it would measure nothing of what a method saves during decoding."""
        raise NotImplementedError("dycoke computes no likelihoods; choose a task variant that generates, such as *_mc")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not supported."""
        raise NotImplementedError("dycoke answers single-round tasks only")
