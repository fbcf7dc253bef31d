"""Settings that every process of a captioning run receives, and the digest by which captions are kept."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dycoke_cli
from dycoke_cli.cache.fingerprint import folder_fingerprint
from dycoke_cli.captioning.item import Identity
from dycoke_cli.config.settings import Settings
from dycoke_cli.models.checkpoints import Checkpoint
from dycoke_cli.models.hub.cache import FILES

# Settings of where and how fast captions are made; `model` is digested by its resolved name and weights instead.
EXCLUDED = {"device", "video_timeout", "model", "compile"}
USUAL_BATCH = 8  # videos per batch that are planned for before a worker has chosen how many


@dataclass(frozen=True)
class Recipe:
    """Digest of what all captions of a run depend on: version, model, revision, questions, frames, method, settings.

    Settings are digested as written, not as resolved for a device, so that machines with and without a GPU agree.
    """

    digest: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, settings: Settings, questions: Sequence[str]) -> "Recipe":
        """Build the digest from the values that all videos share."""
        values: dict[str, Any] = {
            **settings.model_dump(exclude=EXCLUDED),
            "options": {key: _number(value) for key, value in settings.options.items()},
            "version": dycoke_cli.__version__,
            "model": checkpoint.name,
            "weights": folder_fingerprint(checkpoint.folder, FILES),
            "default_frames": checkpoint.default_frames,
            "questions": list(questions),
        }
        return cls(hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest())

    def key(self, video: Identity) -> str:
        """Return the key of a video's caption, 32 hex digits; a caption whose key is unchanged is not made again."""
        return hashlib.sha256(f"{self.digest} {video.fingerprint}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Job:
    """How captions are made. Plain values only, so that it can be sent to another process."""

    settings: Settings  # `model` is a name, never `auto`
    questions: tuple[str, ...]
    captioned: bool  # True: the only question is the prompt of a caption
    recipe: Recipe
    default_frames: int
    batch: int | None  # videos per batch at most; None: as many as fit
    decoders: int  # processes that decode ahead

    @property
    def planned_batch(self) -> int:
        """Videos per batch, as far as known before the model is loaded."""
        return self.batch or USUAL_BATCH

    @property
    def videos_per_worker(self) -> int:
        """Videos that a worker process holds at most: two batches, and those being decoded."""
        return self.planned_batch * 2 + self.decoders


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(text: str) -> float | str:
    """Convert text to a number where possible, so that 0.7 and .70 have the same digest."""
    try:
        return float(text)
    except ValueError:
        return text
