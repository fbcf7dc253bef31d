"""Real runs of the command, started at once: a process that has imported everything is forked for each of them.

    python -m tests.captioning.launcher    # one JSON object a line, as `Launcher` writes them

What is forked runs the command exactly as `dycoke` does; only the seconds of importing torch are paid once.
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
    """Starts runs and says how they ended; ends all of them with itself."""

    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.captioning.launcher"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", "OMP_NUM_THREADS": "1", **environment},
        )  # fmt: skip

    def start(self, log: Path, *arguments: str, folder: Path = ROOT, stdin: str = os.devnull) -> int:
        """Start `dycoke ARGUMENTS` with stdout and stderr in a file; gives the number of its process."""
        return int(self._ask({"arguments": arguments, "log": str(log), "folder": str(folder), "stdin": stdin}))

    def wait(self, pid: int) -> int:
        """Wait for its end: the exit code, or the signal that ended it, negative."""
        return int(self._ask({"wait": pid}))

    def run(self, log: Path, *arguments: str) -> int:
        """Start and wait."""
        return self.wait(self.start(log, *arguments))

    def close(self) -> None:
        """End everything."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def appears(path: Path, lines: int, within_s: float = 480.0) -> None:
    """Wait until a file has so many lines."""
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
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  the server's has been read from
    os.dup2(log, 1)
    os.dup2(log, 2)
    main()


if __name__ == "__main__":
    _serve()
