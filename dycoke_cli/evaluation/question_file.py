"""The question file of `eval`: YAML or JSONL in, checked questions out."""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from dycoke_cli.errors import InputError, UsageError, VideoError
from dycoke_cli.evaluation.matching import LETTERS, Match, checked_match, chosen_option, normalised
from dycoke_cli.evaluation.question import Question
from dycoke_cli.video.source import check_source

KEYS = ("video", "question", "answer", "options", "type", "match")
REQUIRED = ("video", "question", "answer")
EXAMPLE = "Write items like {video: clip.mp4, question: what colour is the cube?, answer: red}"
SHOWN = 20  # missing videos that an error names
# All scalars stay text: `answer: yes` is the word, not True, and `1:30` is not 90.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_LETTERED = re.compile(r"\W?([A-Z])[).:]\s+(\S.*)", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """One entry of a file, as it was read, and where it stands."""

    where: str
    values: dict[str, Any]

    def fail(self, what: str, remedy: str) -> NoReturn:
        """Refuse the item. Raises UsageError naming file and place."""
        raise UsageError(f"{self.where}: {what}", remedy)


def read_questions(path: Path, match: Match = "exact") -> list[Question]:
    """Read the questions of a YAML or JSONL file; video paths are relative to it.

    match: how open answers are compared where an item does not say.
    Raises InputError where the file cannot be read, UsageError with file, place and key for what is wrong in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}", "Name a YAML or JSONL file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{str(path)!r} is not text in UTF-8", "Name a YAML or JSONL file") from None
    lines = path.suffix.lower() in (".jsonl", ".ndjson")
    items = list(_jsonl_items(path, text) if lines else _yaml_items(path, text))
    if not items:
        raise UsageError(f"{str(path)!r} holds no questions", EXAMPLE)
    return [_question(item, path.parent, match) for item in items]


def refuse_missing_videos(questions: Sequence[Question], source: Path) -> None:
    """Raise InputError naming the videos that do not exist."""
    videos = {question.video: question.path for question in questions}
    gone = [video for video, path in videos.items() if _is_missing(path)]
    if gone:
        shown = ", ".join(map(repr, gone[:SHOWN])) + (f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else "")
        raise InputError(
            f"{len(gone)} of the {len(videos)} videos in {str(source)!r} cannot be found: {shown}",
            f"Paths are relative to the question file, in {str(source.parent)!r}",
        )


def _is_missing(path: Path) -> bool:
    try:
        check_source(path)
    except VideoError as error:
        return error.reason == "missing"
    return False


def _jsonl_items(path: Path, text: str) -> Iterator[Item]:
    # Not `splitlines`: JSON strings may hold the other characters that end lines in Unicode.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{str(path)!r}, line {number}"
        try:
            # Numbers stay as they are written.
            values = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=_Pairs)
        except ValueError as error:
            raise UsageError(f"{where} is not JSON: {error}", "Write one JSON object a line") from None
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
            yield _item(
                where, _Pairs([loader.construct_object(part, deep=True) for part in pair] for pair in node.value)
            )
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{str(path)!r}{place} is not YAML: {reason}", "Correct it, or write JSONL") from None
    finally:
        if loader is not None:
            loader.dispose()


class _Pairs(list[Any]):
    """A mapping before anybody has looked whether a key comes twice."""


def _item(where: str, pairs: Any) -> Item:
    """Check the keys of one entry."""
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
        if value not in (None, ""):
            item.values[key] = value
    for key in REQUIRED:
        if key not in item.values:
            item.fail(f"{key!r} is missing", EXAMPLE)
    return item


def _question(item: Item, folder: Path, match: Match) -> Question:
    values = item.values
    video, text = _text(item, "video"), _text(item, "question")
    kind = _text(item, "type") if "type" in values else None
    compared = _match(item) if "match" in values else match
    options = _options(item) if "options" in values else ()
    accepted = (_right_option(item, options),) if options else _texts(item, "answer")
    return Question(video, folder / video, text, accepted, options, kind, compared)


def _match(item: Item) -> Match:
    try:
        return checked_match(_text(item, "match"))
    except UsageError as error:
        item.fail(error.message, error.remedy)


def _text(item: Item, key: str) -> str:
    value = item.values[key]
    if not isinstance(value, str) or not value.strip():
        item.fail(f"{key!r} is {json.dumps(value)}, not text", f"Write {key!r} as text, in quotes if need be")
    return value.strip()


def _texts(item: Item, key: str) -> tuple[str, ...]:
    """Read one text or several, none of which may vanish when answers are compared."""
    value = item.values[key]
    values = value if isinstance(value, list) and not isinstance(value, _Pairs) else [value]
    for part in values:
        if not isinstance(part, str) or not normalised(part):
            item.fail(f"{key!r} holds {json.dumps(part)}, not text", f"Write {key!r} as text, in quotes if need be")
    if not values:
        item.fail(f"{key!r} is empty", f"Write at least one {key}")
    return tuple(part.strip() for part in values)


def _options(item: Item) -> tuple[str, ...]:
    """Read the options; letters that they all come with are taken off, because the prompt adds them."""
    options = _texts(item, "options")
    if not 2 <= len(options) <= len(LETTERS):
        item.fail(f"'options' holds {len(options)}, not 2 to {len(LETTERS)}", "Write options: [red, green]")
    lettered = [_LETTERED.fullmatch(option) for option in options]
    if all(found and found[1] == letter for found, letter in zip(lettered, LETTERS, strict=False)):
        options = tuple(found[2] for found in lettered if found)
    seen: dict[str, str] = {}
    for option in options:
        if (first := seen.setdefault(normalised(option), option)) is not option:
            item.fail(f"options {first!r} and {option!r} cannot be told apart", "Leave one out")
    return options


def _right_option(item: Item, options: tuple[str, ...]) -> str:
    answer = _text(item, "answer")
    chosen = chosen_option(answer, options)
    if chosen is None:
        last = LETTERS[len(options) - 1]
        item.fail(
            f"answer {answer!r} names none of the {len(options)} options, or more than one",
            f"Write a letter, A to {last}, or an option as it stands; both if one is not clear: 'A. {options[0]}'",
        )
    return options[chosen]
