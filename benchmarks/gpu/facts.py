"""The machine of a GPU day: `python -m benchmarks.gpu.facts cuda|cpu` prints it as one JSON object.

In a process of its own, so that the command keeps no memory of the card, and a driver that hangs ends only this.
"""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
NO_CUDA = 2  # the exit code if torch finds no CUDA device


def machine(device: str) -> dict[str, Any]:
    """Return card, driver, versions, date and commit; what cannot be found out is None."""
    import torch

    from dycoke_cli.system.machine import machine_facts

    cuda = device == "cuda"
    return {
        **machine_facts(torch.device(device)),
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if cuda else None,
        "driver": _driver() if cuda else None,
        "cuda": torch.version.cuda,
        "triton": _version("triton"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(ROOT),
    }


def commit(root: Path) -> str | None:
    """Return the commit that is checked out, read from git's files; None without them."""
    try:
        git = root / ".git"
        if git.is_file():  # of another worktree: "gitdir: PATH"
            git = Path(root, git.read_text().split(":", 1)[1].strip())
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
        if (common / name).exists():
            return (common / name).read_text().strip()
        packed = (line.split(" ") for line in (common / "packed-refs").read_text().splitlines())
        return next((words[0] for words in packed if words[1:] == [name]), None)
    except (OSError, IndexError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _driver() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return lines[0] if lines else None


def main(device: str) -> int:
    """Print the facts; return NO_CUDA if the device is cuda and there is none."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return NO_CUDA
    print(json.dumps(machine(device)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
