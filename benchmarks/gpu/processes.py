"""Run the process of a part within its time limit, and end all that it started."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu.facts import ROOT
from benchmarks.gpu.plan import GRACE_S, Part

DONE, FAILED, TIMED_OUT, NOT_RUN = "done", "failed", "timed out", "not run"


def run_process(part: Part, folder: Path, device: str) -> dict[str, Any]:
    """Run a part and return status, seconds and, unless it is done, the reason; its output goes to NAME.txt.

    After an interruption the status is that of a failure, and "interrupted" is true.
    """
    log, began = folder / f"{part.name}.txt", time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    grace_s = min(GRACE_S, part.seconds / 2)
    with log.open("wb") as output:
        process = subprocess.Popen(
            part.command(folder, device),
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        found: dict[str, Any] = {}
        try:
            code = process.wait(part.seconds - grace_s)
            found = {"status": DONE, "reason": None} if code == 0 else {"status": FAILED, "reason": reason(code, log)}
        except subprocess.TimeoutExpired:
            found = {"status": TIMED_OUT, "reason": f"not done within {part.seconds:g} s"}
        except KeyboardInterrupt:
            found = {"status": FAILED, "reason": "interrupted", "interrupted": True}
        finally:
            _end(process, grace_s)
    return {**found, "seconds": round(time.monotonic() - began, 1), "limit_s": part.seconds}


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the process and all others of its session."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(grace_s)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # those that the part itself did not end
    process.wait()


def reason(code: int, log: Path) -> str:
    """Return why a process ended: the last line of its output, or the signal."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"ended with {code}"
