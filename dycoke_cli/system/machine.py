"""What a measurement was made on and with."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

_CPU_INFO = Path("/proc/cpuinfo")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Describe this machine for records: processor, cores this process may use, accelerator, system, versions.

    device: what the run uses; `device_name` is the accelerator's name, or the processor's on a CPU.
    """
    cpu = _cpu_name()
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers")},
    }


def _cpu_name() -> str:
    """Name the processor; Python itself only knows its architecture on Linux."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
