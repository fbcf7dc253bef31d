"""Free memory of a CPU: MemAvailable, within the limits of control groups; of CUDA devices: free and unallocated."""

from pathlib import Path

import pytest
import torch

from dycoke_cli.system import free_memory
from dycoke_cli.system.free_memory import free_bytes, known_free_bytes

CPU = torch.device("cpu")
KIB = 1024


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with 50 KiB available and no control groups."""
    for name, path in (("MEMINFO", "meminfo"), ("OWN_GROUPS", "cgroup"), ("GROUPS", "groups")):
        monkeypatch.setattr(free_memory, name, tmp_path / path)
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    return tmp_path


def group(folder: Path, names: tuple[str, str], limit: str, used: int, stat: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, (limit, str(used)), strict=True):
        (folder / name).write_text(f"{text}\n")
    (folder / "memory.stat").write_text(stat)


V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_without_limits_it_is_what_linux_calls_available(machine: Path) -> None:
    """A group without a limit, or with a limit above the machine's memory, has no effect."""
    assert known_free_bytes(CPU) == free_bytes(CPU) == 50 * KIB
    (machine / "cgroup").write_text("5:cpu:/\n4:memory:/\n0::/\n")
    group(machine / "groups", V2, "max", 1)
    group(machine / "groups" / "memory", V1, "9223372036854771712", 1)
    assert known_free_bytes(CPU) == 50 * KIB


@pytest.mark.parametrize("place", ["", "a", "a/b"])
def test_the_tightest_group_counts(machine: Path, place: str) -> None:
    """The least headroom of the process's group and all groups above it is the free memory."""
    (machine / "cgroup").write_text("0::/a/b\n")
    group(machine / "groups", V2, str(90 * KIB), 1 * KIB)
    group(machine / "groups" / place, V2, str(20 * KIB), 9 * KIB)
    assert known_free_bytes(CPU) == 11 * KIB


def test_only_the_root_group_counts_for_a_path_of_the_host(machine: Path) -> None:
    """/proc/self/cgroup of a container may contain paths of the host, which do not exist inside it."""
    (machine / "cgroup").write_text("4:memory:/docker/0123\n0::/\n")
    group(machine / "groups" / "memory", V1, str(20 * KIB), 9 * KIB, "total_active_file 1024\ninactive_file 99\n")
    assert known_free_bytes(CPU) == 12 * KIB


def test_page_cache_is_free(machine: Path) -> None:
    """Page cache, as of a model just read, counts as free; the result is never negative."""
    (machine / "cgroup").write_text("0::/\n")
    group(machine / "groups", V2, str(20 * KIB), 19 * KIB, "anon 1\nactive_file 2048\ninactive_file 4096\n")
    assert known_free_bytes(CPU) == 7 * KIB
    group(machine / "groups", V2, str(20 * KIB), 21 * KIB)
    assert known_free_bytes(CPU) == 0


def test_without_meminfo_half_of_the_machine_is_assumed(machine: Path) -> None:
    """known_free_bytes returns None; free_bytes returns an assumption."""
    (machine / "meminfo").unlink()
    assert known_free_bytes(CPU) is None
    assert free_bytes(CPU) > 2**20


@pytest.mark.gpu
def test_all_cuda_devices_have_what_each_has() -> None:
    """Memory that this process has reserved but not allocated counts as free."""
    device, every = torch.device("cuda"), range(torch.cuda.device_count())
    before = free_bytes(device)
    held = torch.empty(2**28, dtype=torch.uint8, device=device)
    assert free_bytes(device) <= before - 2**28 + 2**24
    del held
    assert abs(free_bytes(device) - before) < 2**24
    assert known_free_bytes(device, every=True) >= max(free_bytes(torch.device("cuda", one)) for one in every) - 2**24
