"""The decoder process, seen from its parent: started, spoken to, listened to and ended."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import IO, Any


class WorkerFailedError(Exception):
    """The decoder process gave no answer; the text completes "the decoder process ..."."""

    def __init__(self, what: str, reason: str, begun: bool = True) -> None:
        super().__init__(what)
        self.reason = reason  # "crash" or "timeout"
        self.begun = begun  # whether the request was ever looked at; if not, it cannot be to blame


def worker_command() -> list[str]:
    """The command that starts the worker. -P keeps a numpy.py next to the video from being imported."""
    return [sys.executable, "-P", "-W", "ignore", "-m", "dycoke_cli.video.worker"]


class WorkerProcess:
    """One decoder process. It ends with `close`, and also when the parent dies, because its standard input ends."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                worker_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # the same modules as here, installed or not
                    "OPENBLAS_NUM_THREADS": "1",  # no matrix is multiplied there, and starting threads takes 40 ms
                },
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the child
            )
        except BaseException:
            self._log.close()
            raise
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        assert self._stdin is not None
        assert self._stdout is not None
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._begun = False
        self._listener = threading.Thread(target=self._listen, args=(self._stdout,), daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        """Hands over one request. Raises WorkerFailedError when nobody is there to take it."""
        assert self._stdin is not None
        self._begun = False
        try:
            self._stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._stdin.flush()
        except OSError:
            raise self._failure() from None

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Waits for the next message; None when none comes in time. Raises WorkerFailedError when it has ended."""
        try:
            answer = self._answers.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            # The callbacks may have been kept from running by the same long import that made this wait so long.
            try:
                answer = self._answers.get(timeout=0.5)
            except queue.Empty:
                return None
        if answer is None:
            raise self._failure()
        self._begun = True
        return answer

    def log(self) -> str:
        """What the decoders wrote to standard error, for a developer."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def kill(self) -> None:
        """Ends it at once; safe from any thread."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Ends it and gives everything back."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):  # a process stuck in a dead network disk cannot even be killed
            self._process.wait(5)
            self._listener.join(5)
        for file in (self._stdin, self._stdout, self._log):
            with suppress(OSError):
                file.close()  # type: ignore[union-attr]

    def _listen(self, stdout: IO[bytes]) -> None:
        with suppress(ValueError):  # half a line from a child that was killed while it wrote
            for line in stdout:
                self._answers.put(json.loads(line))
        self._answers.put(None)

    def _failure(self) -> WorkerFailedError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.returncode
        if status is None:
            return WorkerFailedError("closed its connection", "crash", self._begun)
        if status >= 0:
            return WorkerFailedError(f"ended with status {status}", "crash", self._begun)
        try:
            return WorkerFailedError(f"crashed ({signal.Signals(-status).name})", "crash", self._begun)
        except ValueError:
            return WorkerFailedError(f"crashed (signal {-status})", "crash", self._begun)
