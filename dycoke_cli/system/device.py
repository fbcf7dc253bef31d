"""Which device a run uses, and in which number format."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dycoke_cli.errors import OutOfMemoryError, UsageError

# Below this, dividing a matrix between threads costs more than it saves, and very much more on a busy machine.
BYTES_WORTH_THREADS = 64 * 2**20

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:1` into a device that is there. Raises UsageError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device {name!r} does not exist", "Use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported", "Use auto, cpu, cuda or cuda:N")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= there:
        raise UsageError(f"device {name!r} is not there: torch sees {there} CUDA devices", "Use --device cpu")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn `auto` or a name into a dtype: bfloat16 on CUDA, where it halves the memory, float32 on a CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return DTYPES[name]


@contextmanager
def suitable_threads(device: torch.device, weight_bytes: int) -> Iterator[None]:
    """Run a small model on one CPU thread inside the block; others, and everything afterwards, as before."""
    before = torch.get_num_threads()
    if device.type == "cpu" and weight_bytes < BYTES_WORTH_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def cpu_threads(threads: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads inside the block."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def out_of_memory_explained() -> Iterator[None]:
    """Turn the several ways in which memory runs out into one error with a remedy."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _no_memory() from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise _no_memory() from error


def _no_memory() -> OutOfMemoryError:
    return OutOfMemoryError("the device ran out of memory", "Use fewer --frames, a higher -o k=, or a smaller --model")
