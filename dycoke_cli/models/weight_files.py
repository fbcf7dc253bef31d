"""Find a model's safetensors files, and read and validate their headers before the model is built.

No allocation has a size from a file before that size has been checked against the file's own.
"""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from dycoke_cli.errors import ModelError
from dycoke_cli.models.model_file import damaged, file_size, parse_object, read_object, unreadable

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
LONGEST_HEADER = 100_000_000  # bytes: the format's own limit
LONGEST_SHAPE = 8  # dimensions
# The format's dtypes. A name contains the bits of one number; BOOL has 8.
SMALL_FLOATS = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4")
FLOATS = ("F64", "F32", "F16", "BF16", *SMALL_FLOATS)
OTHERS = ("U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "C64")
BITS = {"BOOL": 8} | {name: int(re.findall(r"\d+", name)[0]) for name in (*FLOATS, *OTHERS)}
PLAIN_NAME = re.compile(r"[^/\\:\0]+\.safetensors")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Files that transformers would load instead of the weights, or in addition.
DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


class StoredWeight(NamedTuple):
    """A tensor's entry in a safetensors header: dtype by the format's name, shape, and the name of the file."""

    dtype: str
    shape: tuple[int, ...]
    file: str

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        return self.numbers * BITS[self.dtype]


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a model's weights: model.safetensors, else the shards named in its index.

    Raises ModelError if there is neither, or the index names a file outside the folder. Pickles are never opened; the
    error names them if the folder has no other weights.
    """
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    return [folder / name for name in dict.fromkeys(_weight_map(folder).values())]


def stored_weights(folder: Path) -> dict[str, StoredWeight]:
    """Read the headers of a model's weight files, and check them against the files: weights by name.

    Raises ModelError, with the file's name, for a file that is missing, truncated or does not match its header.
    """
    _refuse_other_weights(folder)
    found: dict[str, StoredWeight] = {}
    for path in weight_files(folder):
        for name, weight in _header(path).items():
            if name in found:
                raise damaged(path, f"{found[name].file} holds the weight {name!r} as well")
            found[name] = weight
    if not (folder / SINGLE).exists():
        for name, file in _weight_map(folder).items():
            if name not in found or found[name].file != file:
                raise damaged(folder / file, f"it does not hold {name!r}, which {INDEX} lists there")
    return found


def _weight_map(folder: Path) -> dict[str, str]:
    """Read the index: the shard's file name by the weight's name."""
    path = folder / INDEX
    try:
        files = read_object(path).get("weight_map")
    except FileNotFoundError:
        raise _no_weights(folder) from None
    if not isinstance(files, dict) or not files:
        raise damaged(path, "it has no weight_map")
    for name in files.values():
        if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
            raise damaged(path, f"it names {name!r}, which is not a safetensors file in this folder")
    return files


def _no_weights(folder: Path) -> ModelError:
    """Build the ModelError for a folder without safetensors, with the weights in other formats that it holds."""
    other = sorted(path.name for path in folder.iterdir() if path.suffix in (*PICKLES, ".gguf"))
    if other:
        return ModelError(
            f"{str(folder)!r} has no {SINGLE}, only {', '.join(other[:3])}{' and more' * (len(other) > 3)}, "
            "which dycoke does not open",
            "Only safetensors are read, because a pickle can run code: take a revision of the model that has them",
        )
    return ModelError(f"{str(folder)!r} holds no weights: neither {SINGLE} nor {INDEX}")


def _refuse_other_weights(folder: Path) -> None:
    """Raise ModelError for an adapter or distributed shards, which transformers would load beside or instead."""
    for name in ADAPTERS:
        if (folder / name).exists():
            raise ModelError(
                f"{str(folder)!r} has an adapter, {name}, which dycoke does not apply",
                "Merge it into its model first, or remove the adapter's files",
            )
    part = next((path.name for path in folder.iterdir() if DISTRIBUTED.fullmatch(path.name)), None)
    if part is not None:
        message = f"{part} of {str(folder)!r} is one shard of a distributed training checkpoint"
        raise ModelError(message, f"Save the model's weights as {SINGLE}")


def _header(path: Path) -> dict[str, StoredWeight]:
    """Read and validate the header of one safetensors file. Raises ModelError."""
    try:
        size = file_size(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise damaged(path, f"its header should have {length} bytes, and the whole file has {size}")
            if length > LONGEST_HEADER:
                raise damaged(path, f"its header has {length} bytes; the format allows {LONGEST_HEADER}")
            entries = parse_object(path, file.read(length), once=True)
    except FileNotFoundError:
        raise ModelError(f"{path.name} of {str(path.parent)!r} is missing") from None
    except OSError as error:
        raise unreadable(path, error) from None
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise damaged(path, f"its header has an invalid '__metadata__': {str(metadata)[:80]}")
    return _checked(path, entries, size - 8 - length)


def _checked(path: Path, entries: dict[str, Any], held: int) -> dict[str, StoredWeight]:
    """Check header entries against the `held` bytes that follow the header: contiguous tensors, no bytes left over."""
    weights, ranges = {}, {}
    for name, entry in entries.items():
        try:
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            whole = all(type(value) is int and 0 <= value < 2**63 for value in (*shape, begin, end))
            known = dtype in BITS and isinstance(shape, list) and len(shape) <= LONGEST_SHAPE
        except (KeyError, TypeError, ValueError):
            whole = known = False
        if not (whole and known):
            raise damaged(path, f"its header has an invalid entry for {name!r}: {str(entry)[:80]}")
        weights[name] = StoredWeight(dtype, tuple(shape), path.name)
        ranges[name] = (begin, end)
        if (end - begin) * 8 != weights[name].bits:
            raise damaged(path, f"{name!r} is {dtype} of shape {shape}, and has {end - begin} bytes")
    place = 0
    for name in sorted(ranges, key=ranges.__getitem__):
        begin, end = ranges[name]
        if begin != place:
            raise damaged(path, f"{name!r} starts at byte {begin}, and the tensor before it ends at {place}")
        place = end
    if place > held:
        raise damaged(path, f"it was cut short: it has {held} of {place} bytes of weights")
    if place < held:
        raise damaged(path, f"{held - place} bytes follow its last tensor")
    return weights
