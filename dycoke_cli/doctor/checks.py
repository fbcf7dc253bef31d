"""All checks in order: the quick ones run while what needs torch starts."""

from collections.abc import Callable, Iterator

from dycoke_cli.doctor.decoders import check_decord, check_pyav
from dycoke_cli.doctor.hub import check_cache, check_hub
from dycoke_cli.doctor.installation import check_packages, check_python, check_settings
from dycoke_cli.doctor.result import CheckResult
from dycoke_cli.doctor.worker_process import WorkerProcess

QUICK: dict[str, Callable[[], CheckResult]] = {
    "python": check_python,
    "packages": check_packages,
    "settings": check_settings,
    "pyav": check_pyav,
    "decord": check_decord,
    "hub": check_hub,
    "cache": check_cache,
}


def run_checks(progress: Callable[[str], None] = lambda name: None) -> Iterator[CheckResult]:
    """Yield one finding a check; `progress` hears what is tried next."""
    with WorkerProcess() as guard:
        for name, check in QUICK.items():
            progress(name)
            try:
                yield check()
            except Exception as error:  # a package that is half there can raise anything
                what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                yield CheckResult(name, "broken", what, "Install dycoke anew; if that does not help, report this")
        progress("torch and the demo model")
        yield from guard.findings()
