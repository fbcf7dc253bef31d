"""All tests that need a CUDA device; on a CPU the smoke tests of decoding and of the methods."""

from typing import Any

from benchmarks.gpu.facts import ROOT
from benchmarks.gpu.job import Job
from benchmarks.gpu.suites import run_tests, suite_rows

GOLDEN = "test_golden.py"  # is a part of its own
SMALL = ("tests/video/test_frames.py", "tests/cli/test_methods.py")


def measure(job: Job) -> None:
    """Run the tests, of which only files with the mark are collected: all files take each worker half a minute."""
    if job.small:
        run_tests(job, SMALL, "smoke")
        return
    marked = (path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text("utf-8"))
    run_tests(job, [str(path) for path in marked if path.name != GOLDEN], "gpu")


def rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures of the table."""
    return suite_rows(record)
