"""Run the parts of a GPU day one after another, and write what is known after each."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.job import record_path
from benchmarks.gpu.plan import Part
from benchmarks.gpu.processes import NOT_RUN, run_process
from dycoke_cli.display.output_files import write_file

SCHEMA = 1
FILE, PARTS_FOLDER = "gpu.json", "gpu"


@dataclass
class Day:
    """The results so far, as the JSON file of the command contains them."""

    parts: Sequence[Part]  # those that are to run
    results: Path  # the folder of the file
    device: str
    machine: dict[str, Any]
    others: Sequence[str] = ()  # names of parts that are not to run
    interrupted: bool = False
    found: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name, of parts that ran

    def run(self) -> None:
        """Run all parts, or those before an interruption."""
        self.began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n")  # gpu.json contains the records; the rest is for this machine
        self.save()
        for part in self.parts:
            self._say(f"{part.name}: {part.text}, at most {part.seconds:g} s")
            path = record_path(self.folder, part.name)
            path.unlink(missing_ok=True)
            outcome = run_process(part, self.folder, self.device)
            self.interrupted = outcome.pop("interrupted", False)
            self.found[part.name] = {**outcome, "result": read_record(path)}
            self.save()
            why = f" ({outcome['reason']})" if outcome["reason"] else ""
            self._say(f"{part.name}: {outcome['status']} after {outcome['seconds']:g} s{why}")
            if self.interrupted:
                return

    @property
    def folder(self) -> Path:
        """The folder of the records and logs of the parts."""
        return self.results / PARTS_FOLDER

    @property
    def all_done(self) -> bool:
        """Whether every part that was to run is done."""
        return all(self.found.get(part.name, {}).get("status") == "done" for part in self.parts)

    @property
    def record(self) -> dict[str, Any]:
        """The content of the JSON file."""
        missing = {"status": NOT_RUN, "reason": None, "seconds": None, "limit_s": None, "result": None}
        names = [*(part.name for part in self.parts), *self.others]
        return {
            "schema": SCHEMA,
            "device": self.device,
            "machine": self.machine,
            "seconds": round(time.monotonic() - self.began, 1),
            "interrupted": self.interrupted,
            "parts": {name: self.found.get(name, missing) for name in names},
        }

    def save(self) -> None:
        """Write the JSON file."""
        write_file(self.results / FILE, json.dumps(self.record, indent=2) + "\n")

    def _say(self, line: str) -> None:
        print(f"[{time.monotonic() - self.began:5.1f} s] {line}", flush=True)


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record that a part has written; None if it has written none."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record
