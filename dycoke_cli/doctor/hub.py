"""Whether models can be fetched and kept: the hub, the flags that forbid it, and the cache folder."""

import shutil
import tempfile
import threading
from pathlib import Path

from dycoke_cli.doctor.result import CheckResult, ok

LIMIT_S = 5.0  # for the whole request: a name server may take its own time
SMALL_MODEL = 2 * 2**30  # bytes: the smallest real model takes 1.8 GB
UNREACHED = "Models on this disk and the demo work. Check network and proxy, or set HF_HUB_OFFLINE=1"


def check_hub(limit_s: float = LIMIT_S) -> CheckResult:
    """Ask the hub for its front page, unless a flag forbids it."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return ok("hub", "offline, by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE: nothing is fetched", offline=True)
    answers: list[int | Exception] = []
    # In a thread, because looking up a name knows no limit.
    asking = threading.Thread(target=_ask, args=(constants.ENDPOINT, limit_s, answers), daemon=True)
    asking.start()
    asking.join(limit_s)
    facts = {"endpoint": constants.ENDPOINT, "offline": False}
    if not answers:
        told = f"{constants.ENDPOINT} does not answer within {limit_s:g} s"
        return CheckResult("hub", "warning", told, UNREACHED, facts)
    answer = answers[0]
    if isinstance(answer, Exception):
        reason = (str(answer).strip().splitlines() or [type(answer).__name__])[0]
        return CheckResult("hub", "warning", f"{constants.ENDPOINT} cannot be reached: {reason}", UNREACHED, facts)
    if answer >= 500:
        return CheckResult("hub", "warning", f"{constants.ENDPOINT} answers with status {answer}", UNREACHED, facts)
    return ok("hub", f"{constants.ENDPOINT} answers", **facts)


def check_cache() -> CheckResult:
    """Write to the folder that fetched models go to, or to the nearest one above that is there."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    there = next(path for path in (cache, *cache.parents) if path.exists())
    facts = {"path": str(cache), "exists": cache.exists()}
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        told = f"{cache} cannot be written: {error.strerror}"
        if constants.is_offline_mode():
            return ok("cache", f"{told}; offline nothing needs to be", **facts)
        return CheckResult("cache", "broken", told, "Set HF_HUB_CACHE to a folder of yours", facts)
    free = shutil.disk_usage(there).free
    told = f"{cache}, {free / 1e9:.0f} GB free"
    if free < SMALL_MODEL:
        return CheckResult("cache", "warning", told, "Make room, or set HF_HUB_CACHE to a larger disk", facts)
    return ok("cache", told, **facts, free_bytes=free)


def _ask(endpoint: str, limit_s: float, answers: list[int | Exception]) -> None:
    from huggingface_hub.utils import get_session

    try:
        answers.append(get_session().head(endpoint, timeout=limit_s, follow_redirects=True).status_code)
    except Exception as error:  # whatever its HTTP library raises
        answers.append(error)
