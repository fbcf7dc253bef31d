"""Run all checks in order; the quick ones run while the process for the torch checks starts."""

from collections.abc import Callable, Iterator

from dycoke_cli.doctor.decoders import check_decord, check_pyav
from dycoke_cli.doctor.hub import check_cache, check_hub
from dycoke_cli.doctor.installation import check_packages, check_python, check_settings
from dycoke_cli.doctor.result import CheckResult, run_check
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
    """Yield one result per check; `progress` is called with the name of the check that comes next."""
    with WorkerProcess() as worker:
        for name, check in QUICK.items():
            progress(name)
            yield run_check(name, check, "Install dycoke again; if that does not help, report this")
        progress("torch and the demo model")
        yield from worker.results()
