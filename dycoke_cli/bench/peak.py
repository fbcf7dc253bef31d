"""Measure the peak memory of one arm in a separate process.

The resident size is that of the whole process, and the allocator keeps memory after it is freed: in a process with
other arms, the peak of one cannot be separated from theirs.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dycoke_cli
from dycoke_cli.errors import OutOfMemoryError

WARM_UP_FRAMES, WARM_UP_TOKENS = 1, 2


def peaks_apart(spec: dict[str, Any]) -> list[int | None]:
    """Run an arm in a new process and return its peaks above weights, in bytes, one for each case.

    spec: shape, arm (its label), cases, settings, video, threads; plain values. A peak is None if the system does not
    report it. Raises OutOfMemoryError if the process fails.
    """
    if not spec["cases"]:
        return []
    command = [sys.executable, "-m", "dycoke_cli.bench.peak", json.dumps(spec)]
    # In the parent folder of this package, so that the process imports the same package.
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(dycoke_cli.__file__).parents[1])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise OutOfMemoryError(f"the peak of {spec['arm']} could not be measured: {last}")
    peaks: list[int | None] = json.loads(done.stdout.splitlines()[-1])
    return peaks


def measured_peaks(spec: dict[str, Any]) -> list[int | None]:
    """Measure the peaks in this process; the child process of `peaks_apart` calls it."""
    import torch

    from dycoke_cli.bench.arms import make_arms
    from dycoke_cli.bench.case import Case
    from dycoke_cli.bench.inputs import source_of, synthetic_rows
    from dycoke_cli.bench.random_model import Shape
    from dycoke_cli.config.settings import Settings
    from dycoke_cli.methods.arm import Arm
    from dycoke_cli.methods.parsing import STOCK_COMPILED, STOCKS, split_arm
    from dycoke_cli.system.device import choose_device, choose_dtype, cpu_threads
    from dycoke_cli.system.free_memory import free_bytes

    settings = Settings(**spec["settings"])
    device = choose_device(settings.device)
    cases = [Case(**case) for case in spec["cases"]]
    stocks = [label for label in STOCKS if label == spec["arm"]]
    with cpu_threads(spec["threads"]), torch.inference_mode():
        model = Shape(**spec["shape"]).build(device, choose_dtype(settings.dtype, device), free_bytes(device))
        (arm,) = make_arms(model, [] if stocks else [Arm.of(*split_arm(spec["arm"]))], stocks, settings.compile)
        peaks = []
        with source_of(spec["video"], model, settings) as source:
            # One frame first, to load code and kernels; the compiled arm runs each case unmeasured itself.
            few = Case(WARM_UP_FRAMES, model.grid(WARM_UP_FRAMES).total, 1, WARM_UP_TOKENS, cases[0].vision)
            for case in cases if STOCK_COMPILED in stocks else (few, *cases):
                rows = [] if case.vision else synthetic_rows(model, case)
                peaks.append(arm.run(case, source, rows).peak_above_start)
    return peaks[-len(cases) :]


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent handles them, and kills this process when it stops
    print(json.dumps(measured_peaks(json.loads(sys.argv[1]))))
