"""A crash or a hang of the worker process is reported as a result; `dycoke doctor` goes on."""

import sys
import time

import pytest

from dycoke_cli.doctor.worker_process import LIMITS_S, REMEDIES, WorkerProcess

TORCH = '{"check": "torch", "status": "ok", "message": "m", "remedy": "", "facts": {}}'
BROKEN = TORCH.replace('"ok"', '"broken"')


def found(code: str, limit_s: float = 30.0) -> list[tuple[str, str, str]]:
    limits_s = {"torch": 30.0, "cuda": limit_s, "torchvision": 30.0, "model": 30.0}
    with WorkerProcess((sys.executable, "-c", code), limits_s) as worker:
        return [(result.check, result.status, result.message) for result in worker.results()]


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("os.kill(os.getpid(), 11)", "it ended its process (SIGSEGV)"),
        ("os._exit(3)", "it ended its process (status 3)"),
    ],
)
def test_a_crash_is_a_result(ending: str, message: str) -> None:
    """It belongs to the check that ran; earlier results stay, later checks are not tried."""
    assert found(f"import os; print('{TORCH}', flush=True); {ending}") == [
        ("torch", "ok", "m"),
        ("cuda", "broken", message),
        ("torchvision", "warning", "not tried"),
        ("model", "warning", "not tried"),
    ]


def test_a_hang_is_a_result() -> None:
    """Each check has a time limit, and the process has ended afterwards."""
    began = time.monotonic()
    results = found(f"import time; print('{TORCH}', flush=True); time.sleep(600)", limit_s=0.3)
    assert results[1] == ("cuda", "broken", "no result within 0.3 s")
    assert [status for _, status, _ in results] == ["ok", "broken", "warning", "warning"]
    assert time.monotonic() - began < 60


def test_without_torch_nothing_else_is_tried() -> None:
    """The process ends normally, which is not reported as a crash."""
    assert [status for _, status, _ in found(f"print('{BROKEN}')")] == ["broken", "warning", "warning", "warning"]


def test_every_check_has_a_limit_and_a_remedy() -> None:
    """Both tables have the same names in the same order."""
    assert list(LIMITS_S) == list(REMEDIES)
