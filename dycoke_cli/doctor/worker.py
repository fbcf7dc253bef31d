"""The process that runs the checks that need torch: one result per line of JSON on standard output.

    python -m dycoke_cli.doctor.worker

A torch build that does not match the machine may crash or hang its process, so `dycoke doctor` runs it in another.
"""

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import TextIO

from dycoke_cli.doctor import torch_checks
from dycoke_cli.doctor.result import CheckResult
from dycoke_cli.errors import DyCokeError


def run_all(out: TextIO) -> None:
    """Run the checks in order and write each result at once; stop after `torch` if that is broken."""
    torch = run_one("torch", torch_checks.check_torch)
    _write(out, torch)
    if torch.status == "broken":
        return
    cuda = run_one("cuda", torch_checks.check_cuda)
    _write(out, cuda)
    _write(out, run_one("torchvision", torch_checks.check_torchvision))
    # The result above reports a GPU that fails; the model is checked on the CPU nevertheless.
    device = "cpu" if cuda.status == "broken" else "auto"
    _write(out, run_one("model", lambda: torch_checks.check_model(device)))


def run_one(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    """Run one check; return whatever it raises as a broken result."""
    try:
        return check()
    except DyCokeError as error:
        return CheckResult(name, "broken", error.message, error.remedy)
    except Exception as error:  # an incompletely installed package can raise anything
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return CheckResult(name, "broken", reason, f"Install {name if name != 'model' else 'dycoke'} again")


def _write(out: TextIO, result: CheckResult) -> None:
    out.write(json.dumps(asdict(result)) + "\n")
    out.flush()


def main() -> None:
    """Run the checks; redirect what libraries print to standard error."""
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    run_all(out)
    os._exit(0)  # skips torch's clean-up, which takes a second


if __name__ == "__main__":
    main()
