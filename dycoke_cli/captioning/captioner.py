"""A model and a method that answer the same questions about one batch of videos after another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from dycoke_cli.captioning.job import Job
from dycoke_cli.methods.options import make_method
from dycoke_cli.models import checkpoints, loading
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.batch import BatchSession, Row
from dycoke_cli.session.pipeline import load_model
from dycoke_cli.session.session import Session
from dycoke_cli.system.callbacks import Callbacks
from dycoke_cli.system.device import out_of_memory_explained
from dycoke_cli.video.clip import Clip

if TYPE_CHECKING:
    from dycoke_cli.captioning.prefetch import Read

# Rows of a batch beyond which a step takes as much longer as it does more.
ENOUGH = {"cpu": 8, "cuda": 32}


class Captioner:
    """Answers a job's questions about batches of videos; each answer is the one that the video would get alone.

    Raises a DyCokeError for a model or a setting that cannot be used.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.settings = job, job.settings
        loading.refuse_broken_torchvision()
        self.method = make_method(self.settings.method, self.settings.options)
        with out_of_memory_explained():
            self.model = load_model(checkpoints.locate(self.settings.model), self.settings, [self.method])
        self.session = BatchSession(self.model, self.method, self.settings)
        self.device = self.model.language_model.device

    def answers(self, batch: Sequence["Read"]) -> list[tuple[Answer, ...]]:
        """Answer about videos together. Raises OutOfMemoryError where they do not fit, UsageError for a budget that
        one of them cannot meet."""
        clips = [self._clip(read) for read in batch]
        if self.job.captioned:
            rows = [Row(clip, self.job.questions[0]) for clip in clips]
            return [(answer,) for answer in self.session.answers(rows)]
        # Several questions share the prefill of their video, so videos go one by one.
        return [
            tuple(Session(self.model, clip, self.method, self.settings).answers(self.job.questions, Callbacks()))
            for clip in clips
        ]

    def rows_that_fit(self, frames: int) -> int:
        """Say how many videos of so many frames to run together, by the memory that is free."""
        if not self.job.captioned:
            return 1
        return min(self.enough(self.device), self.session.rows_that_fit(frames, self.job.questions[0]))

    @staticmethod
    def enough(device: torch.device) -> int:
        """Say how many rows a device can use, whatever its memory."""
        return ENOUGH[device.type]

    def recover(self) -> None:
        """Give back what a batch that did not fit left behind."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _clip(self, read: "Read") -> Clip:
        assert read.frames is not None
        return Clip.of(read.frames, self.settings.start, self.settings.end, read.seconds)
