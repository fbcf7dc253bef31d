"""Digests of everything a caption depends on; a caption whose digest is unchanged is not made again."""

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

# Settings of where and how fast captions are made; `model` is digested by its resolved name and weights instead.
EXCLUDED = {"device", "video_timeout", "model", "compile"}


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

    def key(self, fingerprint: str) -> str:
        """Return the key of the caption of the video with this fingerprint: 32 hex digits."""
        return hashlib.sha256(f"{self.digest} {fingerprint}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Identity:
    """Size, modification time and content fingerprint of a video file; empty for one that cannot be read."""

    bytes: int = 0
    modified_ns: int = 0
    fingerprint: str = ""

    @classmethod
    def of(cls, path: str, known: "Identity | None" = None) -> "Identity":
        """Identify a file; where its size and time equal those of `known`, return `known` without reading it."""
        try:
            facts = os.stat(path)
            if known is not None and (known.bytes, known.modified_ns) == (facts.st_size, facts.st_mtime_ns):
                return known
            return cls(facts.st_size, facts.st_mtime_ns, file_fingerprint(Path(path)))
        except (OSError, ValueError):
            return cls()


def _number(text: str) -> float | str:
    """Convert text to a number where possible, so that 0.7 and .70 have the same digest."""
    try:
        return float(text)
    except ValueError:
        return text
