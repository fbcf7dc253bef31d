"""One video to be captioned, under a name that is the same on every machine."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A video below the folder that was given."""

    id: str  # its path from that folder on, with / between names
    path: str  # absolute

    def shard(self, count: int) -> int:
        """Say which of `count` shards it belongs to, from 0: by its id, so that new videos move no others."""
        digest = hashlib.sha256(self.id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % count
