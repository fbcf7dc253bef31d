"""Run `dycoke` as a user does, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.gpu.facts import ROOT


def run_dycoke(words: Sequence[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """Run a command and return its wall-clock seconds and stdout; raise SystemExit with its code if it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dycoke_cli", *words],
        cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    wall_s = time.perf_counter() - began
    if done.returncode:
        print(f"dycoke {' '.join(words)} ended with {done.returncode}", flush=True)
        raise SystemExit(1)
    return wall_s, done.stdout
