"""One file of a model, read as what it has to be: a plain file, no longer than such files are, whole JSON."""

import json
import stat
from pathlib import Path
from typing import Any

from dycoke_cli.errors import ModelError

LONGEST = 2**28  # bytes of a text file; the longest tokenizer.json that is published has 2**25


def file_size(path: Path) -> int:
    """Count the bytes of a plain file; links are followed.

    Raises FileNotFoundError, and ModelError for a folder, a pipe or anything else that is no file.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(facts.st_mode):
        raise damaged(path, "it is no file")
    return facts.st_size


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object. Raises FileNotFoundError and ModelError."""
    size = file_size(path)
    if size > LONGEST:
        raise damaged(path, f"it has {size} bytes, and such files have at most {LONGEST}")
    try:
        return parse_object(path, path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from None


def parse_object(path: Path, content: bytes, once: bool = False) -> dict[str, Any]:
    """Parse a JSON object that comes from `path`; once: refuse a key that comes twice. Raises ModelError."""
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_pairs if once else None)
    except RecursionError:
        raise damaged(path, "it is nested too deeply") from None
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if not isinstance(found, dict):
        raise damaged(path, "it does not hold one JSON object")
    return found


def damaged(path: Path, reason: str) -> ModelError:
    """Say what is wrong with a file; what to do about it depends on where the model came from."""
    return ModelError(f"{path.name} of {str(path.parent)!r} is damaged: {reason}")


def unreadable(path: Path, error: OSError) -> ModelError:
    """Say why a file that is there cannot be read."""
    return ModelError(f"{path.name} of {str(path.parent)!r} cannot be read: {error.strerror or error}")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it says twice what {key!r} is")
        found[key] = value
    return found
