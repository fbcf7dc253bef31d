"""What a part is given, and the record that it writes as it measures."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.plan import GRACE_S
from dycoke_cli.display.output_files import write_file

SAVED_EVERY_S = 1.0


def record_path(folder: Path, name: str) -> Path:
    """Return the file of a part's record in the folder of the parts."""
    return folder / f"{name}.json"


@dataclass
class Job:
    """The work of one part, and what it has measured so far in `record`, as JSON values."""

    name: str
    folder: Path  # of the records and logs of the parts
    device: str  # cuda or cpu
    seconds: float  # the limit
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.saved = 0.0

    @property
    def small(self) -> bool:
        """Whether the part runs in its small form, which a CPU does in seconds."""
        return self.device == "cpu"

    @property
    def left_s(self) -> float:
        """Seconds until the part is asked to end."""
        return self.seconds - GRACE_S - (time.monotonic() - self.began)

    @property
    def results(self) -> Path:
        """The folder of the day's results, which contains that of the parts."""
        return self.folder.parent

    def save(self, often: bool = False) -> None:
        """Write the record; often: is called many times a second, so write only once a second."""
        if not often or time.monotonic() - self.saved > SAVED_EVERY_S:
            write_file(record_path(self.folder, self.name), json.dumps(self.record, indent=2) + "\n")
            self.saved = time.monotonic()
