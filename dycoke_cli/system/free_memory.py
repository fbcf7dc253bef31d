"""How much memory a device has free."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

_MACHINE, _OWN_GROUPS, _GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class _Files(NamedTuple):
    """How a version of Linux control groups names what it tells about memory."""

    limit: str
    used: str
    reclaimable: tuple[str, str]  # lines of memory.stat: copies of files, which go when memory is wanted


_FIRST = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))
_SECOND = _Files("memory.max", "memory.current", ("active_file", "inactive_file"))


def known_free_bytes(device: torch.device, every: bool = False) -> int | None:
    """Say how much memory a run can still take on a device, or on all CUDA devices together.

    On CUDA it is what nobody has, and what this process holds unused; on a CPU what Linux calls available, or what is
    left of a control group's limit where that is less. None where the system does not tell.
    """
    if device.type == "cuda":
        devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())] if every else [device]
        return sum(map(_free_on_cuda, devices))
    machine = _line(_MACHINE, "MemAvailable:")
    if machine is None:
        return None
    return min([machine * 1024, *_left_by_groups()])


def free_bytes(device: torch.device) -> int:
    """Say the same of one device; where the system does not tell, half of the machine's memory."""
    known = known_free_bytes(device)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) // 2 if known is None else known


def _free_on_cuda(device: torch.device) -> int:
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused


def _left_by_groups() -> Iterator[int]:
    """Say what each control group that this process is in leaves of its limit, and each group above it."""
    for line in _lines(_OWN_GROUPS):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (_GROUPS / "memory", _FIRST) if controllers else (_GROUPS, _SECOND)
        own = root / path.lstrip("/")  # in a container the path is often that of the host, and only the root is there
        for group in (own, *own.parents):
            if group.is_relative_to(root):
                yield from _left_by(group, files)


def _left_by(group: Path, files: _Files) -> Iterator[int]:
    limit, used = (_number(group / name) for name in (files.limit, files.used))
    if limit is not None and used is not None:
        reclaimable = sum(_line(group / "memory.stat", name) or 0 for name in files.reclaimable)
        yield max(0, limit - used + reclaimable)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None


def _line(path: Path, name: str) -> int | None:
    """Give the number after `name` in a file of such lines."""
    words = (line.split() for line in _lines(path))
    return next((int(found[1]) for found in words if found and found[0] == name), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
