"""The process that runs the checks that need torch: one result per line of JSON on standard output.

    python -m dycoke_cli.doctor.worker

A torch build that does not match the machine may crash or hang its process, so `dycoke doctor` runs it in another.
"""

import json
import os
import warnings
from dataclasses import asdict
from typing import TextIO

from dycoke_cli.doctor import torch_checks
from dycoke_cli.doctor.result import CheckResult, run_check


def run_all(out: TextIO) -> None:
    """Run the checks in order and write each result at once; stop after `torch` if that is broken."""
    torch = run_check("torch", torch_checks.check_torch, "Install torch again")
    _write(out, torch)
    if torch.status == "broken":
        return
    cuda = run_check("cuda", torch_checks.check_cuda, "Install cuda again")
    _write(out, cuda)
    _write(out, run_check("torchvision", torch_checks.check_torchvision, "Install torchvision again"))
    # The result above reports a GPU that fails; the model is checked on the CPU nevertheless.
    device = "cpu" if cuda.status == "broken" else "auto"
    _write(out, run_check("model", lambda: torch_checks.check_model(device), "Install dycoke again"))


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
