"""One video to caption: its id, the same on every machine, and the identity of its file."""

import os
from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.cache.fingerprint import file_fingerprint


@dataclass(frozen=True)
class Item:
    """A video file below a given folder."""

    id: str  # its path relative to that folder, with / between names
    path: str  # absolute


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
