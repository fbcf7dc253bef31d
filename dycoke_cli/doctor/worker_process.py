"""Run the checks that need torch in a worker process: each has a time limit, and a crash is reported as a result."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from dycoke_cli.doctor.result import CheckResult

# In the order in which `worker.py` runs them. Generous, because a first import from a slow disk takes long.
LIMITS_S = {"torch": 120.0, "cuda": 60.0, "torchvision": 60.0, "model": 180.0}
COMMAND = (sys.executable, "-P", "-m", "dycoke_cli.doctor.worker")
REMEDIES = {
    "torch": "Install a torch build for this processor, see pytorch.org",
    "cuda": "Restart what uses the GPU, or the machine; --device cpu works without it",
    "torchvision": "dycoke does not need it: pip uninstall torchvision",
    "model": "Run `dycoke ask VIDEO QUESTION -m demo --debug` to see where it stops",
}


class WorkerProcess:
    """A process that runs the torch checks; a context manager that kills it at the end."""

    def __init__(self, command: Sequence[str] = COMMAND, limits_s: Mapping[str, float] = LIMITS_S) -> None:
        self._limits_s = limits_s
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # the same modules as here
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        self._reader = threading.Thread(target=self._read_lines, daemon=True)
        self._reader.start()

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process that hangs in a driver cannot be killed
            self._process.wait(5)
            self._reader.join(5)
            self._stdout.close()

    def results(self) -> Iterator[CheckResult]:
        """Yield the result of each check as it arrives; after a crash or time-out the rest is not tried."""
        names = iter(self._limits_s)
        for name in names:
            try:
                line = self._lines.get(timeout=self._limits_s[name])
            except queue.Empty:
                yield CheckResult(name, "broken", f"no result within {self._limits_s[name]:g} s", REMEDIES[name])
                break
            if line is not None:
                yield CheckResult(**json.loads(line))
            elif status := self._process.wait():
                how = f"status {status}" if status >= 0 else signal.Signals(-status).name
                yield CheckResult(name, "broken", f"it ended its process ({how})", REMEDIES[name])
                break
            else:  # the worker ended normally: the checks that remain depend on one that is broken
                yield _untried(name)
                break
        yield from map(_untried, names)

    def _read_lines(self) -> None:
        for line in self._stdout:
            self._lines.put(line)
        self._lines.put(None)


def _untried(name: str) -> CheckResult:
    return CheckResult(name, "warning", "not tried", "Repair what is broken above, and run this again")
