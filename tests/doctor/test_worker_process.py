"""What needs torch cannot take the doctor with it: a crash and a hang are findings."""

import sys
import time

import pytest

from dycoke_cli.doctor.worker_process import LIMITS_S, REMEDIES, WorkerProcess

TORCH = '{"check": "torch", "status": "ok", "message": "m", "remedy": "", "facts": {}}'
BROKEN = TORCH.replace('"ok"', '"broken"')


def found(code: str, limit_s: float = 30.0) -> list[tuple[str, str, str]]:
    limits_s = {"torch": 30.0, "cuda": limit_s, "torchvision": 30.0, "model": 30.0}
    with WorkerProcess((sys.executable, "-c", code), limits_s) as guard:
        return [(finding.check, finding.status, finding.message) for finding in guard.findings()]


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("os.kill(os.getpid(), 11)", "it ended its process (SIGSEGV)"),
        ("os._exit(3)", "it ended its process (status 3)"),
    ],
)
def test_a_crash_is_a_finding(ending: str, message: str) -> None:
    """Of the check that ran; what was found before stands, and the rest is not tried."""
    assert found(f"import os; print('{TORCH}', flush=True); {ending}") == [
        ("torch", "ok", "m"),
        ("cuda", "broken", message),
        ("torchvision", "warning", "not tried"),
        ("model", "warning", "not tried"),
    ]


def test_a_hang_is_a_finding() -> None:
    """Each check has its limit, and the process is gone afterwards."""
    began = time.monotonic()
    findings = found(f"import time; print('{TORCH}', flush=True); time.sleep(600)", limit_s=0.3)
    assert findings[1] == ("cuda", "broken", "no result within 0.3 s")
    assert [status for _, status, _ in findings] == ["ok", "broken", "warning", "warning"]
    assert time.monotonic() - began < 60


def test_without_torch_there_is_no_more_to_try() -> None:
    """The process ends of its own accord, which is no crash."""
    assert [status for _, status, _ in found(f"print('{BROKEN}')")] == ["broken", "warning", "warning", "warning"]


def test_every_check_has_a_limit_and_a_remedy() -> None:
    """The same names in both tables."""
    assert list(LIMITS_S) == list(REMEDIES)
