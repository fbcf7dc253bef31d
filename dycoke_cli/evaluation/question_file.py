"""Parse the YAML or JSONL question file of `dycoke eval` into checked questions."""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from dycoke_cli.errors import InputError, UsageError, VideoError
from dycoke_cli.evaluation.matching import LETTERS, Match, chosen_option, normalised, parse_match
from dycoke_cli.evaluation.question import Question
from dycoke_cli.session.question import check_question
from dycoke_cli.system.files import read_text
from dycoke_cli.video.path import video_path
from dycoke_cli.video.source import check_source

KEYS = ("video", "question", "answer", "options", "type", "match")
REQUIRED = ("video", "question", "answer")
EXAMPLE = "Write items like {video: clip.mp4, question: what colour is the cube?, answer: red}"
SHOWN = 20  # missing videos that an error names
_LETTERED = re.compile(r"\W?([A-Z])[).:]\s+(\S.*)", re.DOTALL)


class _Pairs(list[Any]):
    """Key-value pairs of a mapping, duplicate keys included."""


def read_questions(path: Path, match: Match = "exact") -> list[Question]:
    """Parse the questions of a YAML or JSONL file; video paths are relative to its folder.

    match: match mode of items that set none.
    Raises InputError where the file cannot be read, UsageError naming file, position and key for an invalid item.
    """
    try:
        text = read_text(path, "utf-8-sig")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}", "Name a YAML or JSONL file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{str(path)!r} is not text in UTF-8", "Name a YAML or JSONL file") from None
    items = list((_jsonl_items if path.suffix.lower() in (".jsonl", ".ndjson") else _yaml_items)(path, text))
    if not items:
        raise UsageError(f"{str(path)!r} holds no questions", EXAMPLE)
    questions = []
    for where, fields in items:
        try:
            questions.append(_question(fields, path.parent, match))
        except (InputError, UsageError, VideoError) as error:
            raise UsageError(f"{where}: {error.message.rstrip('.')}", error.remedy) from None
    return questions


def refuse_missing_videos(questions: Sequence[Question], source: Path) -> None:
    """Raise InputError naming the videos that do not exist."""
    videos = {question.video: question.path for question in questions}
    missing = [video for video, path in videos.items() if _is_missing(path)]
    if missing:
        shown = ", ".join(map(repr, missing[:SHOWN]))
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise InputError(
            f"{len(missing)} of the {len(videos)} videos in {str(source)!r} cannot be found: {shown}{more}",
            f"Paths are relative to the question file, in {str(source.parent)!r}",
        )


def _is_missing(path: Path) -> bool:
    try:
        check_source(path)
    except VideoError as error:
        return error.reason == "missing"
    return False


def _jsonl_items(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the position and the fields of each line."""
    # Not `splitlines`: JSON strings may contain other Unicode line separators.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{str(path)!r}, line {number}"
        try:
            # Numbers stay as they are written.
            pairs = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=_Pairs)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{where} is not JSON: {error.msg}, column {error.colno}", "Write one JSON object a line"
            ) from None
        yield where, _fields(where, pairs)


def _yaml_items(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the position and the fields of each entry; all scalars stay text: `yes` is not True, `1:30` is not 90."""
    construct = yaml.constructor.BaseConstructor().construct_object
    try:
        root = yaml.compose(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        if root is None:
            return
        if not isinstance(root, yaml.SequenceNode):
            raise UsageError(f"{str(path)!r} is no list of questions", EXAMPLE)
        for number, node in enumerate(root.value, 1):
            where = f"{str(path)!r}, item {number} (line {node.start_mark.line + 1})"
            pairs = node.value if isinstance(node, yaml.MappingNode) else None
            if pairs is not None:
                pairs = _Pairs((construct(key, True), construct(value, True)) for key, value in pairs)
            yield where, _fields(where, pairs)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{str(path)!r}{place} is not YAML: {reason}", "Correct it, or write JSONL") from None


def _fields(where: str, pairs: Any) -> dict[str, Any]:
    """Return the fields of an item that have a value; check that keys are known and required ones present."""
    if not isinstance(pairs, _Pairs):
        raise UsageError(f"{where}: this is no question", EXAMPLE)
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            remedy = f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(KEYS)}"
            raise UsageError(f"{where}: {key!r} is no key of a question", remedy)
        if key in fields:
            raise UsageError(f"{where}: {key!r} is there twice", "Leave one out")
        if value not in (None, "", []):
            fields[key] = value
    for key in REQUIRED:
        if key not in fields:
            raise UsageError(f"{where}: {key!r} is missing", EXAMPLE)
    return fields


def _question(fields: dict[str, Any], folder: Path, match: Match) -> Question:
    video, text = _text(fields, "video"), _text(fields, "question")
    kind = _text(fields, "type") if "type" in fields else None
    check_question(text)
    compared = parse_match(_text(fields, "match")) if "match" in fields else match
    options = _options(fields) if "options" in fields else ()
    accepted = (_right_option(fields, options),) if options else _texts(fields, "answer")
    return Question(video, Path(video_path(video, str(folder))), text, accepted, options, kind, compared)


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{key!r} is {json.dumps(value)}, not text", f"Write {key!r} as text, in quotes if need be")
    return value.strip()


def _texts(fields: dict[str, Any], key: str) -> tuple[str, ...]:
    """Parse one text or a list of texts, none of which may be empty after normalisation."""
    value = fields[key]
    values = value if isinstance(value, list) else [value]
    for part in values:
        if not isinstance(part, str) or not normalised(part):
            raise UsageError(
                f"{key!r} holds {json.dumps(part)}, not text", f"Write {key!r} as text, in quotes if need be"
            )
    return tuple(part.strip() for part in values)


def _options(fields: dict[str, Any]) -> tuple[str, ...]:
    """Parse the options; if all begin with their letters ("A. red"), remove these, because the prompt adds them."""
    options = _texts(fields, "options")
    if not 2 <= len(options) <= len(LETTERS):
        raise UsageError(f"'options' holds {len(options)}, not 2 to {len(LETTERS)}", "Write options: [red, green]")
    lettered = [_LETTERED.fullmatch(option) for option in options]
    if all(found and found[1] == letter for found, letter in zip(lettered, LETTERS, strict=False)):
        options = tuple(found[2] for found in lettered if found)
    seen: dict[str, str] = {}
    for option in options:
        check_question(option)
        if (same := normalised(option)) in seen:
            raise UsageError(f"options {seen[same]!r} and {option!r} cannot be told apart", "Leave one out")
        seen[same] = option
    return options


def _right_option(fields: dict[str, Any], options: tuple[str, ...]) -> str:
    answer = _text(fields, "answer")
    chosen = chosen_option(answer, options)
    if chosen is None:
        last = LETTERS[len(options) - 1]
        raise UsageError(
            f"answer {answer!r} names none of the {len(options)} options, or more than one",
            f"Write a letter, A to {last}, or an option as it stands; both if one is not clear: 'A. {options[0]}'",
        )
    return options[chosen]
