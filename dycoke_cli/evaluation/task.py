"""Tasks of an evaluation: every question with every method, each keyed by a digest of what its answer depends on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import dycoke_cli
from dycoke_cli.cache.fingerprint import file_fingerprint, files_fingerprint, folder_fingerprint
from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import VideoError
from dycoke_cli.evaluation.question import Question
from dycoke_cli.methods.arm import Arm
from dycoke_cli.models.checkpoints import Checkpoint
from dycoke_cli.models.hub.cache import FILES
from dycoke_cli.video.sampling import Sampling
from dycoke_cli.video.source import check_source, images_in

# The settings that an answer depends on, besides model, method and frames.
ANSWERING = (
    "decoder", "quantize",
    "max_new_tokens", "temperature", "top_p", "seed", "repetition_penalty", "newline", "pooling", "row_newlines"
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One question to answer with one method."""

    key: str
    item: int  # number of the question in its file, from 1
    question: Question
    arm: Arm


def tasks_of(
    questions: Sequence[Question],
    arms: Sequence[Arm],
    checkpoint: Checkpoint,
    dtype: str,
    sampling: Callable[[Path], Sampling],
    settings: Settings,
) -> list[Task]:
    """Return the tasks, question by question.

    A key depends on the version of dycoke, model and weights, dtype, method and options, frames, settings of the
    answer, the video's content and the prompt; not on the paths of files.
    """
    shared = {
        "version": dycoke_cli.__version__,
        "model": checkpoint.name,
        "weights": folder_fingerprint(checkpoint.folder, FILES),
        "dtype": dtype,
        "rate": settings.fps,
        **{name: getattr(settings, name) for name in ANSWERING},
    }
    videos = {question.path: _identity(question.path) for question in questions}
    tasks = []
    for item, question in enumerate(questions, 1):
        for arm in arms:
            method = {"name": arm.method.name, "options": arm.method.options()}
            retain = None if arm.baseline else settings.retain
            own = {
                "video": videos[question.path],
                "frames": asdict(sampling(question.path)),
                "prompt": question.prompt,
                "method": method,
                "retain": retain,
            }
            text = json.dumps({**shared, **own}, sort_keys=True)
            tasks.append(Task(hashlib.sha256(text.encode()).hexdigest()[:32], item, question, arm))
    return tasks


def _identity(path: Path) -> str:
    """Return a video's content fingerprint; "" if it cannot be read: its failure is never kept as an answer."""
    try:
        pictures = images_in(check_source(path))
        return file_fingerprint(path) if pictures is None else files_fingerprint(path / name for name in pictures)
    except (VideoError, OSError):
        return ""
