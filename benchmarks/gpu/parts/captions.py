"""`dycoke caption` on a folder of clips, with the demo model."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.commands import run_dycoke
from benchmarks.gpu.job import Job
from dycoke_cli.display.panel import seconds

CLIPS = {"cuda": 40, "cpu": 4}
BATCH = {"cuda": 8, "cpu": 2}


def measure(job: Job) -> None:
    """Caption copies of the sample clips; a run that is cut short leaves the number of clips that it captioned."""
    from benchmarks.batch import make_clips

    clips, batch = CLIPS[job.device], BATCH[job.device]
    job.record |= {"clips": clips, "batch": batch}
    with tempfile.TemporaryDirectory() as folder:
        make_clips(Path(folder), clips)
        output = Path(folder, "captions.jsonl")
        words = ["caption", folder, "--model", "demo", "--device", job.device, "--batch-size", str(batch)]
        try:
            wall_s, _ = run_dycoke([*words, "--output", str(output)], {})
            job.record |= {"wall_s": wall_s, "clips_per_s": clips / wall_s}
        finally:
            job.record["captioned"] = captioned(output)


def captioned(output: Path) -> int:
    """Return how many lines of an output file are captions, not errors."""
    if not output.exists():
        return 0
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return sum(line.get("caption") is not None for line in lines)


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return clips, time and rate."""
    done = f"{record.get('captioned', 0)} of {record['clips']}, batches of {record['batch']}"
    if "wall_s" not in record:
        return [("captions", done)]
    return [("captions", f"{done}: {seconds(record['wall_s'])}, {record['clips_per_s']:.2f} clips a second")]
