"""What a caption depends on, as a digest: one that still holds need not be made again."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dycoke_cli
from dycoke_cli.cache.fingerprint import file_fingerprint, folder_fingerprint
from dycoke_cli.config.settings import Settings
from dycoke_cli.models.checkpoints import FILES, Checkpoint

# Where and how fast captions are made, not what they say.
WITHOUT = {"device", "video_timeout", "model", "compile"}


@dataclass(frozen=True)
class Recipe:
    """What all captions of a run depend on: version, model and revision, questions, frames, method and settings.

    Settings count as they are written, so that a machine without a GPU agrees with one that has several.
    """

    digest: str

    @classmethod
    def of(cls, checkpoint: Checkpoint, settings: Settings, questions: Sequence[str]) -> "Recipe":
        """Digest everything that is the same for all videos."""
        values: dict[str, Any] = {
            **settings.model_dump(exclude=WITHOUT),
            "options": {key: _number(value) for key, value in settings.options.items()},
            "version": dycoke_cli.__version__,
            "model": checkpoint.name,
            "weights": folder_fingerprint(checkpoint.folder, FILES),
            "default_frames": checkpoint.default_frames,
            "questions": list(questions),
        }
        return cls(hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest())

    def key(self, fingerprint: str) -> str:
        """Give the key of one video's caption."""
        return hashlib.sha256(f"{self.digest} {fingerprint}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Identity:
    """What a video file is; empty for one that cannot be read."""

    bytes: int = 0
    modified_ns: int = 0
    fingerprint: str = ""

    @classmethod
    def of(cls, path: str, known: "Identity | None" = None) -> "Identity":
        """Identify a file; the content of one that is as large and as old as `known` is taken to be the same."""
        try:
            facts = os.stat(path)
            if known is not None and (known.bytes, known.modified_ns) == (facts.st_size, facts.st_mtime_ns):
                return known
            return cls(facts.st_size, facts.st_mtime_ns, file_fingerprint(Path(path)))
        except (OSError, ValueError):
            return cls()


def _number(text: str) -> float | str:
    """Read 0.7 and .70 alike."""
    try:
        return float(text)
    except ValueError:
        return text
