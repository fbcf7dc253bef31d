"""One of several runs that share out a folder between them, each with an output file of its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dycoke_cli.captioning.item import Item
from dycoke_cli.errors import UsageError

_TEXT = re.compile(r"(\d+)/(\d+)", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """The share `number` of `count`, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `3/8`. Raises UsageError."""
        match = _TEXT.fullmatch(text.strip())
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count:
            raise UsageError(f"--shard is {text!r}", "Count from 1, as in --shard 1/4 to --shard 4/4")
        return cls(number, count)

    @classmethod
    def from_slurm(cls, environment: Mapping[str, str]) -> "Shard | None":
        """Take the place of this task in its job array, whatever number the array begins with; None outside one."""
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
        """Whether a video belongs to this share."""
        return item.shard(self.count) == self.number - 1

    def output(self, whole: Path) -> Path:
        """Name the file of this share beside that of the whole."""
        return (
            whole if self.count == 1 else whole.with_name(f"{whole.stem}.{self.number}-of-{self.count}{whole.suffix}")
        )


def shards_beside(whole: Path) -> list[Path]:
    """Find the files of shares of an output, the one written last at the end."""
    name = re.compile(re.escape(whole.stem) + r"\.\d+-of-\d+" + re.escape(whole.suffix))
    if not whole.parent.is_dir():
        return []
    found = [path for path in whole.parent.iterdir() if name.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
