"""Parse the entries of a YAML or JSONL question file into texts and lists, each entry with its position."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from dycoke_cli.errors import InputError, UsageError
from dycoke_cli.system.files import read_text

KEYS = ("video", "question", "answer", "options", "type", "match")
REQUIRED = ("video", "question", "answer")
EXAMPLE = "Write items like {video: clip.mp4, question: what colour is the cube?, answer: red}"
# All scalars stay text: `answer: yes` is the word, not True, and `1:30` is not 90.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True)
class Item:
    """One entry of a question file."""

    where: str  # file and line or number, for error messages
    values: dict[str, Any]

    def fail(self, problem: str, remedy: str) -> NoReturn:
        """Raise UsageError naming file, position and problem."""
        raise UsageError(f"{self.where}: {problem}", remedy)


def read_items(path: Path) -> list[Item]:
    """Parse the entries of a YAML or JSONL file, and check that keys are known and required ones present.

    Raises InputError where the file cannot be read, UsageError naming file, position and key for an invalid entry.
    """
    try:
        text = read_text(path, "utf-8-sig")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}", "Name a YAML or JSONL file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{str(path)!r} is not text in UTF-8", "Name a YAML or JSONL file") from None
    lines = path.suffix.lower() in (".jsonl", ".ndjson")
    return list(_jsonl_items(path, text) if lines else _yaml_items(path, text))


def _jsonl_items(path: Path, text: str) -> Iterator[Item]:
    # Not `splitlines`: JSON strings may contain other Unicode line separators.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{str(path)!r}, line {number}"
        try:
            # Numbers stay as they are written.
            values = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=_Pairs)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{where} is not JSON: {error.msg}, column {error.colno}", "Write one JSON object a line"
            ) from None
        yield _item(where, values)


def _yaml_items(path: Path, text: str) -> Iterator[Item]:
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return
        if not isinstance(root, yaml.SequenceNode):
            raise UsageError(f"{str(path)!r} is no list of questions", EXAMPLE)
        for number, node in enumerate(root.value, 1):
            where = f"{str(path)!r}, item {number} (line {node.start_mark.line + 1})"
            if not isinstance(node, yaml.MappingNode):
                Item(where, {}).fail("this is no question", EXAMPLE)
            yield _item(where, _Pairs(map(loader.construct_object, pair, (True, True)) for pair in node.value))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{str(path)!r}{place} is not YAML: {reason}", "Correct it, or write JSONL") from None
    finally:
        if loader is not None:
            loader.dispose()


class _Pairs(list[Any]):
    """Key-value pairs of a mapping, duplicate keys included."""


def _item(where: str, pairs: Any) -> Item:
    """Check the keys of one entry and return its item."""
    item = Item(where, {})
    if not isinstance(pairs, _Pairs):
        item.fail("this is no question", EXAMPLE)
    for key, value in pairs:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            item.fail(
                f"{key!r} is no key of a question",
                f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(KEYS)}",
            )
        if key in item.values:
            item.fail(f"{key!r} is there twice", "Leave one out")
        if value not in (None, "", []):
            item.values[key] = value
    for key in REQUIRED:
        if key not in item.values:
            item.fail(f"{key!r} is missing", EXAMPLE)
    return item
