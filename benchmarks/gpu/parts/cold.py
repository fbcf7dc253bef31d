"""`dycoke ask` as a process: without compiled kernels on disk, again with them, and on the CPU."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.commands import run_dycoke
from benchmarks.gpu.job import Job
from dycoke_cli.display.panel import seconds

QUESTION = "what colour is the cube?"
BOUND = 1.2  # wall-clock time of the second run beside that on the CPU


def measure(job: Job) -> None:
    """Run the command three times, with the caches of kernels in one temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        caches = {"TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor", "CUDA_CACHE_PATH": "cuda"}
        environment = {name: str(Path(folder, last)) for name, last in caches.items()}
        for key, device in (("cold", job.device), ("second", job.device), ("cpu", "cpu")):
            job.record[key] = ask(device, environment)
            job.save()
    job.record["second_of_cpu"] = job.record["second"]["wall_s"] / job.record["cpu"]["wall_s"]


def ask(device: str, environment: dict[str, str]) -> dict[str, Any]:
    """Ask about a bundled clip; return the wall-clock time of the process and the times of the first two tokens.

    The second token is None if the answer has more than two, whose times are not recorded one by one.
    """
    words = ["ask", "sample:cube", QUESTION, "--model", "demo", "--device", device, "--json", "--stats", "--no-cache"]
    wall_s, printed = run_dycoke(words, environment)
    (answer,) = json.loads(printed)["answers"]
    generated, times = answer["tokens"]["generated"], answer["time_s"]
    return {
        "device": device,
        "answer": answer["answer"],
        "wall_s": wall_s,
        "first_token_s": times["first_token"],
        "second_token_s": times["decode"] if generated == 2 else None,
        "generated": generated,
    }


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the times of each run, and the ratio to the CPU."""
    lines = [
        (
            f"ask, {key}",
            f"wall {seconds(found['wall_s'])}, first token {seconds(found['first_token_s'])}, "
            f"second {seconds(found['second_token_s'])} ({found['device']})",
        )
        for key in ("cold", "second", "cpu")
        if (found := record.get(key))
    ]
    if (ratio := record.get("second_of_cpu")) is not None:
        met = "met" if ratio <= BOUND else "missed"
        lines.append(("second beside cpu", f"{ratio:.2f}× (≤ {BOUND:g}×) {met}"))
    return lines
