"""Which files hold a model's weights, and what their headers say: safetensors alone, read before anything is built.

Nothing is allocated by a size that a file claims; a header's claims are held against the file's own size first.
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
# Bits of a number.
FLOATS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
BITS = {
    **FLOATS,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "C64": 64,
}
PLAIN_NAME = re.compile(r"[^/\\:\0]+\.safetensors")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# What transformers would read instead of these files, or beside them.
DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


class StoredWeight(NamedTuple):
    """What a header says about a tensor."""

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
    """Name the files that hold a model's weights: model.safetensors, else the shards of its index.

    Raises ModelError where there is neither, or the index names what is no file of this folder; it says so of a folder
    that has only pickles, which are never opened.
    """
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    return [folder / name for name in dict.fromkeys(_weight_map(folder).values())]


def stored_weights(folder: Path) -> dict[str, StoredWeight]:
    """Read the headers of a model's weights, and hold them against their files.

    Raises ModelError for a file that is missing, cut short or not what its header says, naming it.
    """
    _refuse_what_would_be_read_instead(folder)
    found: dict[str, StoredWeight] = {}
    for path in weight_files(folder):
        for name, weight in _header(path).items():
            if name in found:
                raise damaged(path, f"{found[name].file} holds the weight {name!r} as well")
            found[name] = weight
    if not (folder / SINGLE).exists():
        for name, file in _weight_map(folder).items():
            if name not in found or found[name].file != file:
                raise damaged(folder / file, f"it does not hold {name!r}, which {INDEX} says is in it")
    return found


def _weight_map(folder: Path) -> dict[str, str]:
    """Read which shard holds which weight."""
    path = folder / INDEX
    try:
        files = read_object(path).get("weight_map")
    except FileNotFoundError:
        raise _none(folder) from None
    if not isinstance(files, dict) or not files:
        raise damaged(path, "it has no weight_map")
    for name in files.values():
        if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
            raise damaged(path, f"it names {name!r}, which is no safetensors file of this folder")
    return files


def _none(folder: Path) -> ModelError:
    """Say of a folder without safetensors what it has instead."""
    other = sorted(path.name for path in folder.iterdir() if path.suffix in (*PICKLES, ".gguf"))
    if other:
        return ModelError(
            f"{str(folder)!r} has no {SINGLE}, only {', '.join(other[:3])}{' and more' * (len(other) > 3)}, "
            "which dycoke does not open",
            "Only safetensors are read, because a pickle can run code: take a revision of the model that has them",
        )
    return ModelError(f"{str(folder)!r} holds no weights: neither {SINGLE} nor {INDEX}")


def _refuse_what_would_be_read_instead(folder: Path) -> None:
    """An adapter changes the weights, or has others loaded; a training run's parts are taken for the whole."""
    for name in ADAPTERS:
        if (folder / name).exists():
            raise ModelError(
                f"{str(folder)!r} has an adapter, {name}, which dycoke does not apply",
                "Merge it into its model first, or take the adapter's files away",
            )
    part = next((path.name for path in folder.iterdir() if DISTRIBUTED.fullmatch(path.name)), None)
    if part is not None:
        raise ModelError(f"{part} of {str(folder)!r} is a part of a training run's state", f"Save it whole as {SINGLE}")


def _header(path: Path) -> dict[str, StoredWeight]:
    """Read the header of one file. Raises ModelError."""
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
    words = entries.pop("__metadata__", {})
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise damaged(path, f"its header says of '__metadata__' what cannot be: {str(words)[:80]}")
    return _checked(path, entries, size - 8 - length)


def _checked(path: Path, entries: dict[str, Any], held: int) -> dict[str, StoredWeight]:
    """Hold what a header says against the bytes that follow it: tensor after tensor, no gap, nothing left over."""
    weights, ranges = {}, {}
    for name, entry in entries.items():
        try:
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            whole = all(type(value) is int and 0 <= value < 2**63 for value in (*shape, begin, end))
            known = dtype in BITS and isinstance(shape, list) and len(shape) <= LONGEST_SHAPE
        except (KeyError, TypeError, ValueError):
            whole = known = False
        if not (whole and known):
            raise damaged(path, f"its header says of {name!r} what cannot be: {str(entry)[:80]}")
        weights[name] = StoredWeight(dtype, tuple(shape), path.name)
        ranges[name] = (begin, end)
        if (end - begin) * 8 != weights[name].bits:
            raise damaged(path, f"{name!r} is {dtype} of shape {shape}, and has {end - begin} bytes")
    place = 0
    for name in sorted(ranges, key=ranges.__getitem__):
        begin, end = ranges[name]
        if begin != place:
            raise damaged(path, f"{name!r} starts at byte {begin}, where the one before it ends at {place}")
        place = end
    if place > held:
        raise damaged(path, f"it was cut short: {held} of {place} bytes of weights are there")
    if place < held:
        raise damaged(path, f"{held - place} bytes follow its last weight")
    return weights
