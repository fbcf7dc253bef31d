"""The checks that need torch, from outside: each has a time limit, and a crash is a finding."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from dycoke_cli.doctor.result import CheckResult

# In the order of `child.py`. A first import from a slow disk takes long, and says nothing about torch.
LIMITS_S = {"torch": 120.0, "cuda": 60.0, "torchvision": 60.0, "model": 180.0}
COMMAND = (sys.executable, "-P", "-m", "dycoke_cli.doctor.worker")
REMEDIES = {
    "torch": "Install a torch build for this processor, see pytorch.org",
    "cuda": "Restart what uses the GPU, or the machine; --device cpu works without it",
    "torchvision": "dycoke does not need it: pip uninstall torchvision",
    "model": "Run `dycoke ask VIDEO QUESTION -m demo --debug` to see where it stops",
}


class WorkerProcess:
    """Starts the checks in a process of their own and collects their findings; a context manager that ends it."""

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
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # stuck in a dead driver it cannot even be killed
            self._process.wait(5)
            self._listener.join(5)
            self._stdout.close()

    def findings(self) -> Iterator[CheckResult]:
        """Yield the finding of each check as it comes; after a crash or a hang the rest has not been tried."""
        names = iter(self._limits_s)
        for name in names:
            try:
                line = self._lines.get(timeout=self._limits_s[name])
            except queue.Empty:
                yield CheckResult(name, "broken", f"no result within {self._limits_s[name]:g} s", REMEDIES[name])
                break
            if line is not None:
                yield CheckResult(**json.loads(line))
            elif self._process.wait() != 0:
                yield self._crash(name)
                break
            else:  # it has ended itself, because what it found before makes this one pointless
                yield _untried(name)
                break
        yield from map(_untried, names)

    def _crash(self, name: str) -> CheckResult:
        """Say how the process ended while it ran a check."""
        status = self._process.returncode
        how = f"status {status}" if status >= 0 else signal.Signals(-status).name
        return CheckResult(name, "broken", f"it ended its process ({how})", REMEDIES[name])

    def _listen(self) -> None:
        for line in self._stdout:
            self._lines.put(line)
        self._lines.put(None)


def _untried(name: str) -> CheckResult:
    return CheckResult(name, "warning", "not tried", "Repair what is broken above, and run this again")
