"""Start real runs of the command without delay, each forked from a process that has imported everything.

    python -m tests.captioning.launcher    # reads one JSON object per line, as `Launcher` writes them

A forked process runs the command exactly as `dycoke` does; torch, which takes seconds, is imported once for all.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Launcher:
    """Starts runs and returns their exit codes; `close` kills all of them."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.captioning.launcher"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", "OMP_NUM_THREADS": "1", **environment},
        )  # fmt: skip

    def start(self, log: Path, *arguments: str, folder: Path = ROOT, stdin: str = os.devnull) -> int:
        """Start `dycoke ARGUMENTS` with stdout and stderr appended to a file; return its process id."""
        return int(self._ask({"arguments": arguments, "log": str(log), "folder": str(folder), "stdin": stdin}))

    def wait(self, pid: int) -> int:
        """Wait for a run to end; return its exit code, or the negative number of the signal that ended it."""
        return int(self._ask({"wait": pid}))

    def run(self, log: Path, *arguments: str) -> int:
        """Start a run, wait for it, and return its exit code."""
        return self.wait(self.start(log, *arguments))

    def close(self) -> None:
        """Kill the server and all runs."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def appears(path: Path, lines: int, within_s: float = 480.0) -> None:
    """Wait until a file has this many lines. Raises AssertionError after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not grow to {lines} lines")


def _serve() -> None:
    import transformers.models.llava_onevision.modeling_llava_onevision  # noqa: F401  the slowest of all imports

    import dycoke_cli.captioning.captioner  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork() or _run(request)
        print(json.dumps(answer), flush=True)


def _run(request: dict[str, Any]) -> None:
    from dycoke_cli.__main__ import main

    sys.argv = ["dycoke", *request["arguments"]]
    stdin = os.open(request["stdin"], os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.chdir(request["folder"])
    os.dup2(stdin, 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  the server has read from its own
    os.dup2(log, 1)
    os.dup2(log, 2)
    main()


if __name__ == "__main__":
    _serve()
