"""Parse the YAML or JSONL question file of `dycoke eval` into checked questions."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from dycoke_cli.errors import InputError, UsageError, VideoError
from dycoke_cli.evaluation.item import EXAMPLE, Item, read_items
from dycoke_cli.evaluation.matching import LETTERS, Match, chosen_option, normalised, parse_match
from dycoke_cli.evaluation.question import Question
from dycoke_cli.session.question import check_question
from dycoke_cli.video.path import video_path
from dycoke_cli.video.source import check_source

SHOWN = 20  # missing videos that an error names
_LETTERED = re.compile(r"\W?([A-Z])[).:]\s+(\S.*)", re.DOTALL)


def read_questions(path: Path, match: Match = "exact") -> list[Question]:
    """Parse the questions of a YAML or JSONL file; video paths are relative to its folder.

    match: match mode of items that set none.
    Raises InputError where the file cannot be read, UsageError naming file, position and key for an invalid item.
    """
    items = read_items(path)
    if not items:
        raise UsageError(f"{str(path)!r} holds no questions", EXAMPLE)
    return [_question(item, path.parent, match) for item in items]


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


def _question(item: Item, folder: Path, match: Match) -> Question:
    values = item.values
    video, text = _text(item, "video"), _text(item, "question")
    kind = _text(item, "type") if "type" in values else None
    _check_text(item, text)
    compared = _match(item) if "match" in values else match
    options = _options(item) if "options" in values else ()
    accepted = (_right_option(item, options),) if options else _texts(item, "answer")
    return Question(video, _path(item, video, folder), text, accepted, options, kind, compared)


def _path(item: Item, video: str, folder: Path) -> Path:
    try:
        return Path(video_path(video, str(folder)))
    except (InputError, VideoError) as error:
        item.fail(error.message.rstrip("."), error.remedy)


def _check_text(item: Item, text: str) -> None:
    try:
        check_question(text)
    except UsageError as error:
        item.fail(error.message, error.remedy)


def _match(item: Item) -> Match:
    try:
        return parse_match(_text(item, "match"))
    except UsageError as error:
        item.fail(error.message, error.remedy)


def _text(item: Item, key: str) -> str:
    value = item.values[key]
    if not isinstance(value, str) or not value.strip():
        item.fail(f"{key!r} is {json.dumps(value)}, not text", f"Write {key!r} as text, in quotes if need be")
    return value.strip()


def _texts(item: Item, key: str) -> tuple[str, ...]:
    """Parse one text or a list of texts, none of which may be empty after normalisation."""
    value = item.values[key]
    values = value if isinstance(value, list) else [value]
    for part in values:
        if not isinstance(part, str) or not normalised(part):
            item.fail(f"{key!r} holds {json.dumps(part)}, not text", f"Write {key!r} as text, in quotes if need be")
    if not values:
        item.fail(f"{key!r} is empty", f"Write at least one {key}")
    return tuple(part.strip() for part in values)


def _options(item: Item) -> tuple[str, ...]:
    """Parse the options; if all begin with their letters ("A. red"), remove these, because the prompt adds them."""
    options = _texts(item, "options")
    if not 2 <= len(options) <= len(LETTERS):
        item.fail(f"'options' holds {len(options)}, not 2 to {len(LETTERS)}", "Write options: [red, green]")
    lettered = [_LETTERED.fullmatch(option) for option in options]
    if all(found and found[1] == letter for found, letter in zip(lettered, LETTERS, strict=False)):
        options = tuple(found[2] for found in lettered if found)
    seen: dict[str, str] = {}
    for option in options:
        _check_text(item, option)
        if (same := normalised(option)) in seen:
            item.fail(f"options {seen[same]!r} and {option!r} cannot be told apart", "Leave one out")
        seen[same] = option
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
