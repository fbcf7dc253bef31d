"""Run pytest in this process and record the outcome of every test as it is known."""

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import pytest

from benchmarks.gpu.job import Job

WORKERS = {"cuda": 8, "cpu": 1}  # on a CPU the few tests are done before a second process has started


class Outcomes:
    """A pytest plugin that counts outcomes in the record of a job, with the names of tests that fail."""

    def __init__(self, job: Job) -> None:
        self.job = job
        job.record |= {"collected": 0, "passed": 0, "failed": 0, "skipped": 0, "failures": []}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the number of tests, where no other process collects them."""
        self.job.record["collected"] = len(session.items) or self.job.record["collected"]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """Note the number of tests that the worker processes have collected, which is the same for each."""
        self.job.record["collected"] = len(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the outcome of a test, or of its fixtures if they fail."""
        record = self.job.record
        if report.failed:
            record["failed"] += 1
            record["failures"].append(report.nodeid if report.when == "call" else f"{report.nodeid} ({report.when})")
        elif report.skipped:
            record["skipped"] += 1
        elif report.when == "call":
            record["passed"] += 1
        self.job.save(often=True)


def run_tests(job: Job, paths: Iterable[str], marks: str, words: str = "") -> None:
    """Run the tests of `paths` with these marks and words in their names; end the process with 1 if one fails."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Without the project's own options, which may name a plug-in that is missing, and put all tests of a file in turn.
    options = ["-o", "addopts=", "-o", "filterwarnings=", "-p", "no:cacheprovider", "-v", "--tb=short"]
    workers = min(WORKERS[job.device], cores)
    if workers > 1 and find_spec("xdist") is not None:
        options += ["-n", str(workers)]
    code = pytest.main([*options, "-m", marks, "-k", words, *paths], plugins=[Outcomes(job)])
    record = job.record
    job.save()
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code != pytest.ExitCode.OK:
        print(f"{record['failed']} of {record['collected']} tests fail, pytest ended with {int(code)}")
        sys.exit(1)


def suite_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the number of tests that passed, and the name of each that failed."""
    skipped = f", {record['skipped']} skipped" if record["skipped"] else ""
    return [
        ("tests passed", f"{record['passed']} of {record['collected']}{skipped}"),
        *(("fails", name) for name in record["failures"]),
    ]
