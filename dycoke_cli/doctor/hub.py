"""Check whether models can be downloaded and stored: the hub, the offline flags, and the cache folder."""

import shutil
import tempfile
import threading
from pathlib import Path

from dycoke_cli.doctor.result import CheckResult, ok

LIMIT_S = 5.0  # for the whole request, including the look-up of the host name
SMALL_MODEL = 2 * 2**30  # bytes: the smallest real model takes 1.8 GB
UNREACHED = "Models on this disk and the demo work. Check network and proxy, or set HF_HUB_OFFLINE=1"


def check_hub(limit_s: float = LIMIT_S) -> CheckResult:
    """Request the front page of the hub, unless an offline flag is set."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return ok("hub", "offline, by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE: nothing is fetched", offline=True)
    answers: list[int | Exception] = []
    # In a thread, because the look-up of a host name has no time limit.
    request = threading.Thread(target=_request, args=(constants.ENDPOINT, limit_s, answers), daemon=True)
    request.start()
    request.join(limit_s)
    facts = {"endpoint": constants.ENDPOINT, "offline": False}
    answer = answers[0] if answers else None
    if answer is None:
        problem = f"does not answer within {limit_s:g} s"
    elif isinstance(answer, Exception):
        problem = f"cannot be reached: {(str(answer).strip().splitlines() or [type(answer).__name__])[0]}"
    elif answer >= 500:
        problem = f"answers with status {answer}"
    else:
        return ok("hub", f"{constants.ENDPOINT} answers", **facts)
    return CheckResult("hub", "warning", f"{constants.ENDPOINT} {problem}", UNREACHED, facts)


def check_cache() -> CheckResult:
    """Write to the folder of downloaded models, or to its nearest parent that exists."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    facts = {"path": str(cache), "exists": cache.exists()}
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        message = f"{cache} cannot be written: {error.strerror}"
        if constants.is_offline_mode():
            return ok("cache", f"{message}; not needed offline", **facts)
        return CheckResult("cache", "broken", message, "Set HF_HUB_CACHE to a folder of yours", facts)
    free = shutil.disk_usage(existing).free
    message = f"{cache}, {free / 1e9:.0f} GB free"
    if free < SMALL_MODEL:
        return CheckResult("cache", "warning", message, "Make room, or set HF_HUB_CACHE to a larger disk", facts)
    return ok("cache", message, **facts, free_bytes=free)


def _request(endpoint: str, limit_s: float, answers: list[int | Exception]) -> None:
    from huggingface_hub.utils import get_session

    try:
        answers.append(get_session().head(endpoint, timeout=limit_s, follow_redirects=True).status_code)
    except Exception as error:  # the error class depends on the HTTP library of huggingface_hub
        answers.append(error)
