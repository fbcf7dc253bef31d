"""The child that decodes: requests as JSON lines in, answers as JSON lines out, pixels in shared memory.

    python -m dycoke_cli.video.worker

It holds no torch, so that it starts in a fraction of a second, and may hang or crash without harm to its parent.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from contextlib import suppress

from dycoke_cli.errors import DyCokeError, VideoError
from dycoke_cli.video.decode_job import DecodeJob
from dycoke_cli.video.worker_messages import Reporter

_MEMORY = 4 << 30  # bytes: far above what decoding takes, 2 GiB for 8K; the frames in shared memory do not count
_ADDRESS_SPACE = 24 << 30  # bytes, with all that is reserved and never used


def serve(requests: "queue.SimpleQueue[str]", reporter: Reporter) -> None:
    """Answers requests one after another, for ever."""
    job: DecodeJob | None = None
    while True:
        request = json.loads(requests.get())
        if job is not None:
            job.close()  # not before: until now the parent may still have had to open what it drew on
        reporter.send(kind="begun")
        try:
            job = DecodeJob(request, reporter)
            job.run()
            reporter.send(kind="frames", cpu_s=time.process_time())
        except DyCokeError as error:
            reason = error.reason if isinstance(error, VideoError) else None
            reporter.send(kind="error", message=error.message, remedy=error.remedy, reason=reason)
        except MemoryError:
            message = f"There is too little memory to decode {request['name']}."
            reporter.send(kind="error", message=message, remedy="Take fewer frames.", reason="too_large")


def _limit_resources() -> None:
    with suppress(ImportError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for kind, size in ((resource.RLIMIT_DATA, _MEMORY), (resource.RLIMIT_AS, _ADDRESS_SPACE)):
            with suppress(OSError, ValueError):  # a lower limit is already set, or macOS refuses
                resource.setrlimit(kind, (size, resource.getrlimit(kind)[1]))


def _listen(requests: "queue.SimpleQueue[str]") -> None:
    """Passes requests on and ends the process with its parent, even while a decoder hangs in C."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def main() -> None:
    """Runs until the standard input ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a batch system sends it to all; the parent decides what ends when
    _limit_resources()
    reporter = Reporter(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # whatever a C library prints is not an answer
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    serve(requests, reporter)


if __name__ == "__main__":
    main()
