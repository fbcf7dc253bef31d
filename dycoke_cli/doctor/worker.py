"""The process that tries what needs torch: one finding a line on standard output.

    python -m dycoke_cli.doctor.worker

A torch that does not fit the machine may crash or hang its process, which must not be the doctor's.
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
    """Run the checks in order, each line as soon as it is known; without torch there is nothing more to try."""
    torch = run_one("torch", torch_checks.check_torch)
    _tell(out, torch)
    if torch.status == "broken":
        return
    cuda = run_one("cuda", torch_checks.check_cuda)
    _tell(out, cuda)
    _tell(out, run_one("torchvision", torch_checks.check_torchvision))
    # A card that fails has been named; the model is asked all the same.
    device = "cpu" if cuda.status == "broken" else "auto"
    _tell(out, run_one("model", lambda: torch_checks.check_model(device)))


def run_one(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    """Run one check; whatever it raises is a finding too."""
    try:
        return check()
    except DyCokeError as error:
        return CheckResult(name, "broken", error.message, error.remedy)
    except Exception as error:  # a package that is half there can raise anything
        what = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return CheckResult(name, "broken", what, f"Install {name if name != 'model' else 'dycoke'} anew")


def _tell(out: TextIO, finding: CheckResult) -> None:
    out.write(json.dumps(asdict(finding)) + "\n")
    out.flush()


def main() -> None:
    """Run the checks; what libraries print goes to standard error."""
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    run_all(out)
    os._exit(0)  # taking torch apart takes a second and helps nobody


if __name__ == "__main__":
    main()
