"""A loaded model and method that answer the same questions about successive batches of videos."""

from collections.abc import Sequence

import torch

from dycoke_cli.captioning.job import Job
from dycoke_cli.captioning.prefetch import DecodedVideo
from dycoke_cli.methods.options import make_method
from dycoke_cli.session.answer import Answer
from dycoke_cli.session.batch import BatchSession, Row
from dycoke_cli.session.load import choose_checkpoint, load_model
from dycoke_cli.session.session import Session
from dycoke_cli.session.video import Video
from dycoke_cli.system.callbacks import Callbacks

# Batch rows per kind of device beyond which the time of a step grows in proportion to the rows.
USEFUL_ROWS = {"cpu": 8, "cuda": 32}


class Captioner:
    """Answers a job's questions about batches of videos; each answer equals that of the video on its own.

    Raises a DyCokeError for a model or a setting that cannot be used.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.settings = job, job.settings
        self.method = make_method(self.settings.method, self.settings.options)
        self.model = load_model(choose_checkpoint(self.settings), self.settings, [self.method])
        self.session = BatchSession(self.model, self.method, self.settings)
        self.device = self.model.language_model.device

    def answers(self, batch: Sequence[DecodedVideo]) -> list[tuple[Answer, ...]]:
        """Return the answers about each video of a batch.

        Raises OutOfMemoryError where the batch does not fit, UsageError for a budget that a video cannot meet.
        """
        start, end = self.settings.start, self.settings.end
        videos = [Video.of(decoded.frames, start, end, decoded.seconds) for decoded in batch]
        if self.job.captioned:
            rows = [Row(video, self.job.questions[0]) for video in videos]
            return [(answer,) for answer in self.session.answers(rows)]
        # Several questions about one video share its prefill.
        sessions = [Session(self.model, video, self.method, self.settings) for video in videos]
        return [tuple(session.answers(self.job.questions, Callbacks())) for session in sessions]

    def rows_that_fit(self, frames: int) -> int:
        """Return how many videos of `frames` frames run together in the free memory, at most the useful number."""
        if not self.job.captioned:
            return 1
        return min(USEFUL_ROWS[self.device.type], self.session.rows_that_fit(frames, self.job.questions[0]))

    def recover(self) -> None:
        """Release the memory of a batch that did not fit."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
