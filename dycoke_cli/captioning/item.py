"""One video to caption, with an id that is the same on every machine."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A video file below a given folder."""

    id: str  # its path relative to that folder, with / between names
    path: str  # absolute

    def shard(self, count: int) -> int:
        """Return its shard, from 0 to `count` - 1. It depends on the id alone, so that new videos move no others."""
        digest = hashlib.sha256(self.id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % count
