"""The process that runs the checks that need torch: one result per line of JSON on standard output.

    python -m dycoke_cli.doctor.worker

A torch build that does not match the machine may crash or hang its process, so `dycoke doctor` runs it in another.
"""

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict

from dycoke_cli.doctor import torch_checks
from dycoke_cli.doctor.result import CheckResult, run_check


def results() -> Iterator[CheckResult]:
    """Run the checks in order and yield each result; stop after `torch` if that is broken."""
    torch = run_check("torch", torch_checks.check_torch, "Install torch again")
    yield torch
    if torch.status == "broken":
        return
    cuda = run_check("cuda", torch_checks.check_cuda, "Update the NVIDIA driver, or install a torch build for it")
    yield cuda
    yield run_check("torchvision", torch_checks.check_torchvision, "Install torchvision again")
    # A GPU that fails is reported above; the model is checked on the CPU nevertheless.
    device = "cpu" if cuda.status == "broken" else "auto"
    yield run_check("model", lambda: torch_checks.check_model(device), "Install dycoke again")


def main() -> None:
    """Write each result at once; redirect what libraries print to standard error."""
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for result in results():
        print(json.dumps(asdict(result)), file=out, flush=True)
    os._exit(0)  # skips torch's clean-up, which takes a second


if __name__ == "__main__":
    main()
