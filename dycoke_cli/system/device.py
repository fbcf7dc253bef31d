"""Choose the device, dtype and CPU threads of a run, and turn out-of-memory errors into one error type."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from dycoke_cli.errors import OutOfMemoryError, UsageError

# Models smaller than this run slower with several threads than with one, most of all on a busy machine.
MULTITHREADED_BYTES = 64 * 2**20

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`. Raises UsageError if it does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device {name!r} does not exist", "Use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported", "Use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(f"device {name!r} does not exist: torch finds {count} CUDA devices", "Use --device cpu")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a name; `auto` is bfloat16 on CUDA, for half the memory, and float32 on a CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return DTYPES[name]


def upload(numbers: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return whole numbers as an int64 tensor on a device, without waiting for the work that the device has queued."""
    return torch.tensor(numbers, dtype=torch.int64).to(device, non_blocking=True)


@contextmanager
def suitable_threads(device: torch.device, weight_bytes: int) -> Iterator[None]:
    """Use one CPU thread inside the block for a model of less than MULTITHREADED_BYTES."""
    before = torch.get_num_threads()
    if device.type == "cpu" and weight_bytes < MULTITHREADED_BYTES:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def cpu_threads(threads: int | None) -> Iterator[None]:
    """Set torch's number of CPU threads inside the block; None leaves it unchanged."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def out_of_memory_explained() -> Iterator[None]:
    """Raise OutOfMemoryError, with a remedy, for every error by which torch or Python reports exhausted memory."""
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
