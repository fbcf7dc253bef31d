"""Start, query and end the decoder process, on the side of its parent."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any


class WorkerFailedError(Exception):
    """The decoder process crashed or timed out; the text completes "the decoder process ..."."""

    def __init__(self, what: str, reason: str, begun: bool = True) -> None:
        super().__init__(what)
        self.reason = reason  # "crash" or "timeout"
        self.begun = begun  # whether the worker started on the request; if not, the request is not the cause


def worker_command() -> list[str]:
    """Return the command that starts the worker. -P keeps a numpy.py in the working folder from being imported."""
    return [sys.executable, "-P", "-W", "ignore", "-m", "dycoke_cli.video.worker"]


class WorkerProcess:
    """One decoder process. It ends with `close`, and when the parent dies, as its standard input ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            worker_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # the same modules as here, installed or not
                "OPENBLAS_NUM_THREADS": "1",  # the worker multiplies no matrices, and starting threads takes 40 ms
            },
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the child
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._begun = False
        self._listener = threading.Thread(target=self._listen, args=(self._stdout,), daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        """Send one request. Raise WorkerFailedError if the process has ended."""
        self._begun = False
        try:
            self._stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._stdin.flush()
        except OSError:
            raise self._failure() from None

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message, or None after the timeout. Raise WorkerFailedError if the process has ended."""
        try:
            answer = self._answers.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            # A long import in this process may have held up both this wait and the listener thread.
            try:
                answer = self._answers.get(timeout=0.5)
            except queue.Empty:
                return None
        if answer is None:
            raise self._failure()
        self._begun = True
        return answer

    def kill(self) -> None:
        """End the process at once; safe from any thread."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End the process and close its files."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):  # a process stuck in a dead network disk cannot even be killed
            self._process.wait(5)
            self._listener.join(5)
        for file in (self._stdin, self._stdout):
            with suppress(OSError):
                file.close()

    def _listen(self, stdout: IO[bytes]) -> None:
        """Queue the messages of the process, and None at their end."""
        with suppress(ValueError):  # half a line from a child that was killed while it wrote
            for line in stdout:
                self._answers.put(json.loads(line))
        self._answers.put(None)

    def _failure(self) -> WorkerFailedError:
        """Build the error of a process that has ended, with its exit status or signal."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.returncode
        if status is None:
            what = "closed its connection"
        elif status >= 0:
            what = f"ended with status {status}"
        else:
            names = {known.value: known.name for known in signal.Signals}
            what = f"crashed ({names.get(-status, f'signal {-status}')})"
        return WorkerFailedError(what, "crash", self._begun)
