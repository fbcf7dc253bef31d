"""One of several runs that share the videos of a folder, each with its own output file."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.captioning.item import Item
from dycoke_cli.errors import UsageError

_TEXT = re.compile(r"(\d+)/(\d+)", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """Shard `number` of `count`, counted from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parse `3/8`. Raises UsageError."""
        match = _TEXT.fullmatch(text.strip())
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count:
            raise UsageError(f"--shard is {text!r}", "Count from 1, as in --shard 1/4 to --shard 4/4")
        return cls(number, count)

    @classmethod
    def from_slurm(cls, environment: Mapping[str, str]) -> "Shard | None":
        """Return the shard of this task in its SLURM job array; None outside one.

        The array may have any first index and step. Raises UsageError for one with gaps.
        """
        try:
            task, count = (int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "COUNT"))
            first, step = (int(environment.get(f"SLURM_ARRAY_TASK_{name}", d)) for name, d in (("MIN", 0), ("STEP", 1)))
        except (KeyError, ValueError):
            return None
        number = (task - first) // max(step, 1) + 1
        if not 1 <= number <= count:
            raise UsageError(
                f"SLURM's task {task} of {count} names no shard: the array has gaps", "Say which one with --shard i/n"
            )
        return cls(number, count)

    def holds(self, item: Item) -> bool:
        """Whether a video belongs to this shard. It depends on the id alone, so that new videos move no others."""
        digest = hashlib.sha256(item.id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def output(self, whole: Path) -> Path:
        """Return the output file of this shard, beside that of the whole run; the same file for a single shard."""
        name = f"{whole.stem}.{self.number}-of-{self.count}{whole.suffix}"
        return whole if self.count == 1 else whole.with_name(name)


def shards_beside(whole: Path) -> list[Path]:
    """Find the files of an output's shards, the most recently written last."""
    name = re.compile(re.escape(whole.stem) + r"\.\d+-of-\d+" + re.escape(whole.suffix))
    if not whole.parent.is_dir():
        return []
    found = [path for path in whole.parent.iterdir() if name.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
