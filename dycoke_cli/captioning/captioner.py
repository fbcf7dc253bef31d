"""A model and a method that answer the same questions about one batch of videos after another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from dycoke_cli import checkpoints
from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.record import Reply, Spent
from dycoke_cli.clip import Clip
from dycoke_cli.device import out_of_memory_explained, suitable_threads
from dycoke_cli.engine.generate import Stop, generate
from dycoke_cli.engine.sampling import Sampling
from dycoke_cli.listener import Listener
from dycoke_cli.measure import Stopwatch
from dycoke_cli.methods import Method
from dycoke_cli.methods.budget import with_retain
from dycoke_cli.methods.options import make_method
from dycoke_cli.opening import load_model
from dycoke_cli.session import Session
from dycoke_cli.textstream import TextStream
from dycoke_cli.tokens import Prompt, VisualTokens

if TYPE_CHECKING:
    from dycoke_cli.captioning.readahead import Read


@dataclass(frozen=True)
class Looked:
    """One video as the model has seen it: compressed, its pixels gone."""

    read: "Read"  # without frames
    clip: Clip | None  # kept only where a session asks several questions
    method: Method  # a budget has become options, which depend on the number of frames
    tokens: VisualTokens
    prompt: Prompt
    spent: Spent
    frames: int
    damaged: bool
    warnings: tuple[str, ...]


class Captioner:
    """Answers a job's questions about batches of videos; compression is each video's own.

    Raises a DyCokeError for a model or a setting that cannot be used, OutOfMemoryError where a batch does not fit.
    """

    def __init__(self, job: Job) -> None:
        self.job, settings = job, job.settings
        checkpoints.refuse_broken_torchvision()
        self.method = make_method(settings.method, settings.options)
        with out_of_memory_explained():
            self.model = load_model(checkpoints.locate(settings.model), settings)
        self.method.check(self.model.facts)
        self.device = self.model.language_model.device
        self.stop = Stop(self.model.stop_ids, settings.max_new_tokens)
        self.sampling = Sampling(settings.temperature, settings.top_p, settings.seed, settings.repetition_penalty)
        self.watch = Stopwatch(self.device)

    def look(self, read: "Read") -> Looked:
        """Encode and compress one video."""
        assert read.frames is not None
        settings, frames = self.job.settings, read.frames
        method = with_retain(self.method, settings.retain, self.model.facts, self.model.grid(len(frames)))
        clip = Clip.of(frames, settings.start, settings.end, read.seconds)
        self.watch.restart()
        with out_of_memory_explained(), suitable_threads(self.device, self.model.weight_bytes):
            tokens = self.model.encode(frames.pixels, saliency=method.needs_saliency)
            vision_s = self.watch.lap()
            if self.job.captioned:
                tokens = method.compress(tokens)
            after = self.model.question_ids(self.job.questions[0], clip.seconds, clip.duration_s)
            prompt = self.model.prompt(tokens, after, method.positions)
        info = frames.info
        return Looked(
            replace(read, frames=None), None if self.job.captioned else clip, method, tokens, prompt,
            Spent(read.seconds, vision_s), len(frames), info.damaged, info.warnings,
        )  # fmt: skip

    def answer(self, batch: Sequence[Looked]) -> tuple[list[tuple[Reply, ...]], float, float]:
        """Answer about videos of one method together: replies of each, seconds of the prefill and of the rest."""
        if not self.job.captioned:
            return self._answer_questions(batch[0])
        self.watch.restart()
        ids: list[list[int]] = [[] for _ in batch]
        prefill_s = 0.0
        with out_of_memory_explained(), suitable_threads(self.device, self.model.weight_bytes):
            prompts = [looked.prompt for looked in batch]
            for step in generate(self.model.language_model, prompts, batch[0].method, self.stop, self.sampling):
                if step.number == 0:
                    prefill_s = self.watch.lap()
                for row, token in zip(ids, step.tokens, strict=True):
                    if token is not None:
                        row.append(token)
        decode_s = self.watch.lap()
        return [(self._reply(*pair),) for pair in zip(batch, ids, strict=True)], prefill_s, decode_s

    def rows_that_fit(self, looked: Looked) -> int:
        """Say how many videos like this one fit into what memory is free, by what their keys and values take.

        Half of it is left to what the layers compute on the way; where that is too little, the batch is halved.
        """
        if self.device.type == "cuda":
            free = torch.cuda.mem_get_info(self.device)[0]
            most = 32
        else:
            free, most = _available_bytes(), 8
        slots = len(looked.prompt) + self.stop.max_new_tokens
        return max(1, min(most, int(free * 0.5) // (slots * self.model.language_model.kv_bytes_per_token)))

    def recover(self) -> None:
        """Give back what a batch that did not fit left behind."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _reply(self, looked: Looked, ids: list[int]) -> Reply:
        stream = TextStream(self.model.decode)
        ended = ids[-1] in self.stop.ids
        for token in ids[: len(ids) - ended]:
            stream.push(token)
        stream.finish()
        finish = "stop" if ended else "length"
        tokens = looked.tokens
        return Reply(self.job.questions[0], stream.text.strip(), finish, tokens.grid.total, len(tokens), len(ids))

    def _answer_questions(self, looked: Looked) -> tuple[list[tuple[Reply, ...]], float, float]:
        """Ask several questions of one video, which is prefilled once."""
        assert looked.clip is not None
        session = Session(self.model, looked.clip, looked.method, self.job.settings)
        replies, prefill_s, decode_s = [], 0.0, 0.0
        for answer in session.answers(self.job.questions, Listener(), encoded=looked.tokens):
            tokens, times = answer.tokens, answer.time_s
            counts = (tokens.visual, tokens.visual_prefill, tokens.generated)
            replies.append(Reply(answer.question, answer.answer, answer.finish, *counts))
            prefill_s, decode_s = prefill_s + (times.prefill or 0.0), decode_s + times.decode
        return [tuple(replies)], prefill_s, decode_s


def _available_bytes() -> int:
    """Give the bytes of memory that this machine could still hand out; where it does not tell, what any has."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return 2 << 30
