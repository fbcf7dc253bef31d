"""Processor seconds from the start of `ask` with the demo model until the first frames are encoded.

    uv run python -m benchmarks.startup [--rounds 5] [--out benchmarks/results/startup.json]

Each run is the command in a fresh process; the values are those of `startup` in its `--json` output: processor time of
the process and of the decoder process. For comparison, in turns: importing torch alone, and torch with transformers'
LLaVA-OneVision. The first, unmeasured round fills a temporary folder with Python's bytecode (`compiled` is true); with
--uncompiled no bytecode is written (PYTHONDONTWRITEBYTECODE=1), and every run compiles modules without bytecode again.
Other load raises processor time too, so the minimum is reported beside the median. The last line is one JSON object.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.command_line import option_parser, write_result
from dycoke_cli.system.machine import machine_facts
from dycoke_cli.video import bundled_clips

ROOT = Path(__file__).parents[1]
ARGUMENTS = ["-m", "demo", "-q", "--json", "--no-cache"]
ASK = ["-m", "dycoke_cli", "ask", str(bundled_clips.VIDEO), bundled_clips.QUESTION, *ARGUMENTS]
CLOCK = "; import time; print(time.process_time())"
LLAVA = "import torch, transformers.models.llava_onevision.modeling_llava_onevision"
IMPORTS = {"import torch": "import torch", "import torch and the model": LLAVA}


def run(arguments: list[str], environment: dict[str, str]) -> str:
    """Run Python in a fresh process and return the last line of its output."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def measure(rounds: int, compiled: bool) -> dict[str, Any]:
    """Run every command once unmeasured, then `rounds` times in turns."""
    measured: dict[str, list[float]] = {}
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
                    measured.setdefault(name, []).append(cpu_s)
    cpu_s = {name: {"median": round(median(runs), 2), "least": round(min(runs), 2)} for name, runs in measured.items()}
    machine = machine_facts(torch.device("cpu"))
    return {"rounds": rounds, "compiled": compiled, "machine": machine, "cpu_s": cpu_s}


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = option_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uncompiled", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.rounds, not arguments.uncompiled)
    for name, figures in result["cpu_s"].items():
        print(f"{name:>28}  {figures['median']:6.2f} s  least {figures['least']:.2f} s")
    write_result(result, arguments.out)


if __name__ == "__main__":
    main()
