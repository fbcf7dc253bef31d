"""The worker process that decodes videos: JSON lines for requests and answers, shared memory for pixels.

    python -m dycoke_cli.video.worker

It imports no torch, so it starts in a fraction of a second, and it may hang or crash without harm to its parent.
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
from dycoke_cli.video.decode_job import DecodeJob, Reporter

_DATA_BYTES = 4 << 30  # far above what decoding takes, 2 GiB for 8K; frames in shared memory do not count
_ADDRESS_SPACE_BYTES = 24 << 30  # includes memory that is reserved and never used


def serve(requests: "queue.SimpleQueue[str]", reporter: Reporter) -> None:
    """Answer requests one after another, without end."""
    job: DecodeJob | None = None
    while True:
        request = json.loads(requests.get())
        if job is not None:
            job.close()  # not earlier: until the next request, the parent may not have opened the shared memory
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
    """Limit the memory of this process and disable core dumps."""
    with suppress(ImportError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for kind, size in ((resource.RLIMIT_DATA, _DATA_BYTES), (resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES)):
            with suppress(OSError, ValueError):  # a lower limit is already set, or macOS refuses
                resource.setrlimit(kind, (size, resource.getrlimit(kind)[1]))


def _queue_requests(requests: "queue.SimpleQueue[str]") -> None:
    """Queue the lines of standard input; at its end exit the process, even while a decoder hangs in C."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def main() -> None:
    """Serve requests until standard input ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # batch systems send it to all; the parent ends this process
    _limit_resources()
    reporter = Reporter(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what C libraries print goes to standard error, not among the answers
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_queue_requests, args=(requests,), daemon=True).start()
    serve(requests, reporter)


if __name__ == "__main__":
    main()
