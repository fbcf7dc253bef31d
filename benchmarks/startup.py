"""Processor seconds until the first frames have passed the vision tower: the cost of starting `ask` with the demo.

    uv run python -m benchmarks.startup [--rounds 5] [--out benchmarks/results/startup.json]

Each run is the real command in a fresh process; the figures are those of `startup` in its own `--json`: of the process
since it was started, and of the one that decodes. Beside them, in turns, what importing torch alone takes, and torch
with transformers' LLaVA-OneVision. Python's bytecode is kept in a temporary folder that the first, unmeasured round
fills: `compiled` says so; with --uncompiled every run compiles anew what has no bytecode beside it, as
PYTHONDONTWRITEBYTECODE=1 makes it. Processor time of a busy machine is still too high; the least of all runs is given
beside the median. The last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

from dycoke_cli.system.machine import machine_facts
from dycoke_cli.video import samples

ROOT = Path(__file__).parents[1]
ASK = ["-m", "dycoke_cli", "ask", str(samples.VIDEO), samples.QUESTION, "-m", "demo", "-q", "--json", "--no-cache"]
CLOCK = "; import time; print(time.process_time())"
LLAVA = "import torch, transformers.models.llava_onevision.modeling_llava_onevision"
IMPORTS = {"import torch": "import torch", "import torch and the model": LLAVA}


def run(arguments: list[str], environment: dict[str, str]) -> str:
    """Run Python in a fresh process and give its last line."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def measure(rounds: int, compiled: bool) -> dict[str, Any]:
    """Run everything once for nothing, then in turns."""
    seen: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DYCOKE_MODEL": "demo"}
        if compiled:
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            environment["PYTHONPYCACHEPREFIX"] = folder
        else:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        for number in range(-1, rounds):
            startup = json.loads(run(ASK, environment))["startup"]
            figures = {"ask": startup["cpu_s"], "ask, its decoder": startup["decoder_cpu_s"]}
            figures |= {name: float(run(["-c", code + CLOCK], environment)) for name, code in IMPORTS.items()}
            if number >= 0:
                for name, cpu_s in figures.items():
                    seen.setdefault(name, []).append(cpu_s)
    cpu_s = {name: {"median": round(median(runs), 2), "least": round(min(runs), 2)} for name, runs in seen.items()}
    machine = machine_facts(torch.device("cpu"))
    return {"rounds": rounds, "compiled": compiled, "machine": machine, "cpu_s": cpu_s}


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uncompiled", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.rounds, not arguments.uncompiled)
    for name, figures in result["cpu_s"].items():
        print(f"{name:>28}  {figures['median']:6.2f} s  least {figures['least']:.2f} s")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
