"""The recorded runs of the official code, on CUDA in float32 without TF32; on a CPU those without compression."""

from typing import Any

from benchmarks.gpu.job import Job
from benchmarks.gpu.suites import run_tests, suite_rows


def measure(job: Job) -> None:
    """Run the tests of `tests/test_golden.py` on the device."""
    if job.small:
        run_tests(job, ["tests/test_golden.py"], "not gpu", "baseline")
    else:
        run_tests(job, ["tests/test_golden.py"], "gpu")


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures of the table."""
    return suite_rows(record)
