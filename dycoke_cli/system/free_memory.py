"""Free memory of a CPU or CUDA device, within the limits of Linux control groups."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

MEMINFO, OWN_GROUPS, GROUPS = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class _Files(NamedTuple):
    """File names of the memory controller of one version of Linux control groups."""

    limit: str
    used: str
    reclaimable: tuple[str, str]  # lines of memory.stat: page cache, which the kernel reclaims on demand


_VERSION_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))
_VERSION_2 = _Files("memory.max", "memory.current", ("active_file", "inactive_file"))


def known_free_bytes(device: torch.device, every: bool = False) -> int | None:
    """Return the bytes a run can still allocate on a device, or with `every` on all CUDA devices together.

    CUDA: free memory, and memory that this process has reserved but not allocated. CPU: MemAvailable of Linux, or what
    a control group's limit leaves if that is less. None where the system does not report it.
    """
    if device.type == "cuda":
        devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())] if every else [device]
        return sum(map(_free_on_cuda, devices))
    machine = _line(MEMINFO, "MemAvailable:")
    if machine is None:
        return None
    return min([machine * 1024, *_group_headroom()])


def free_bytes(device: torch.device) -> int:
    """Return the free bytes of one device; where the system does not report them, half of the machine's memory."""
    known = known_free_bytes(device)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) // 2 if known is None else known


def _free_on_cuda(device: torch.device) -> int:
    unallocated = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unallocated


def _group_headroom() -> Iterator[int]:
    """Yield the bytes left below the limit of each control group of this process, and of each group above it."""
    for line in _lines(OWN_GROUPS):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, files = (GROUPS / "memory", _VERSION_1) if controllers else (GROUPS, _VERSION_2)
        own = root / path.lstrip("/")  # in a container it is often the host's path, and only the root exists
        for group in (own, *own.parents):
            if group.is_relative_to(root):
                yield from _headroom(group, files)


def _headroom(group: Path, files: _Files) -> Iterator[int]:
    limit, used = (_number(group / name) for name in (files.limit, files.used))
    if limit is not None and used is not None:
        reclaimable = sum(_line(group / "memory.stat", name) or 0 for name in files.reclaimable)
        yield max(0, limit - used + reclaimable)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max": no limit
        return None


def _line(path: Path, name: str) -> int | None:
    """Return the number that follows `name` in a file of `name number` lines."""
    words = (line.split() for line in _lines(path))
    return next((int(found[1]) for found in words if found and found[0] == name), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
