"""Read a JSON file of a model: a regular file of bounded size that contains one JSON object."""

import json
import stat
from pathlib import Path
from typing import Any

from dycoke_cli.errors import ModelError

LONGEST = 2**28  # bytes of a text file; the longest published tokenizer.json has 2**25


def file_size(path: Path) -> int:
    """Return the size of a regular file in bytes; links are followed.

    Raises FileNotFoundError, and ModelError for a folder, a pipe or anything else that is not a regular file.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise damaged(path, "it is not a regular file")
    return status.st_size


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that contains one JSON object. Raises FileNotFoundError, and ModelError if it is damaged."""
    size = file_size(path)
    if size > LONGEST:
        raise damaged(path, f"it has {size} bytes, and such files have at most {LONGEST}")
    try:
        return parse_object(path, path.read_bytes())
    except OSError as error:
        raise unreadable(path, error) from None


def parse_object(path: Path, content: bytes, once: bool = False) -> dict[str, Any]:
    """Parse the content of `path` as one JSON object. Raises ModelError.

    once: raise for a key that occurs twice too.
    """
    try:
        parsed = json.loads(content.decode("utf-8"), object_pairs_hook=_unique_keys if once else None)
    except RecursionError:
        raise damaged(path, "it is nested too deeply") from None
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if not isinstance(parsed, dict):
        raise damaged(path, "it does not contain a JSON object")
    return parsed


def damaged(path: Path, reason: str) -> ModelError:
    """Build the ModelError for a damaged file, without a remedy; see `model_folder.adding_remedy`."""
    return ModelError(f"{path.name} of {str(path.parent)!r} is damaged: {reason}")


def unreadable(path: Path, error: OSError) -> ModelError:
    """Build the ModelError for a file that exists and cannot be read."""
    return ModelError(f"{path.name} of {str(path.parent)!r} cannot be read: {error.strerror or error}")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} occurs twice")
        values[key] = value
    return values
