"""Question files: equal results for YAML and JSONL, and errors that name the position."""

import json
import re
from pathlib import Path

import pytest

from dycoke_cli.errors import InputError, UsageError
from dycoke_cli.evaluation.question import Question
from dycoke_cli.evaluation.question_file import read_questions, refuse_missing_videos

SAMPLES = Path(__file__).parents[2] / "sample_videos"


def write(folder: Path, text: str, name: str = "q.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_sample_questions() -> None:
    """All questions of the bundled file are parsed in order, and their videos exist."""
    questions = read_questions(SAMPLES / "questions.yaml")
    assert len(questions) == 59
    assert questions[0] == Question(
        "cube.mp4", SAMPLES / "cube.mp4", "what colour is the cube?", ("red",), (), "colour", "exact"
    )
    assert questions[3].accepted == ("yes",)
    refuse_missing_videos(questions, SAMPLES / "questions.yaml")


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    """The example in the README is a valid question file."""
    readme = (SAMPLES.parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(- \{video.*?)```", readme, re.DOTALL)
    questions = read_questions(write(tmp_path, example))
    assert [question.expected for question in questions] == [("red", "dark red"), ("B. a dog",), ("barbecue",)]


def test_yaml_and_jsonl_give_equal_questions(tmp_path: Path) -> None:
    """Scalars stay text as written in both; answers may be lists, and name options by letter or text."""
    yaml = write(
        tmp_path,
        "- {video: a.mp4, question: moving?, answer: yes}\n"
        "- {video: /b.mp4, question: when, answer: [1:30, 90], match: contains, type: time}\n"
        "- {video: b/c.mp4, question: which, answer: b, options: [1.50, no, '2']}\n"
        "- {video: a.mp4, question: which, answer: two, options: [A. one, B. two]}\n",
    )
    lines = [
        {"video": "a.mp4", "question": "moving?", "answer": "yes", "type": None, "options": []},
        {"video": "/b.mp4", "question": "when", "answer": ["1:30", 90], "match": "contains", "type": "time"},
        {"video": "b/c.mp4", "question": "which", "answer": "b", "options": ["1.50", "no", 2]},
        {"video": "a.mp4", "question": "which", "answer": "two", "options": ["(A) one", "(B) two"]},
    ]
    jsonl = write(tmp_path, "\n\n".join(map(json.dumps, lines)), "q.jsonl")
    questions = read_questions(yaml)
    assert questions == read_questions(jsonl)
    assert [question.accepted for question in questions] == [("yes",), ("1:30", "90"), ("no",), ("two",)]
    assert [question.path for question in questions[:3]] == [
        tmp_path / "a.mp4", Path("/b.mp4"), tmp_path / "b" / "c.mp4"
    ]  # fmt: skip
    assert questions[3].options == ("one", "two")
    assert [question.match for question in read_questions(yaml, "contains")] == ["contains"] * 4
    assert questions[0].match == "exact"


GOOD = "- {video: a, question: b, answer: c}\n"


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (GOOD + "- {video: a, question: b, anser: c}", "item 2 .line 2.: 'anser' is no key", "'answer'"),
        (GOOD + "-\n  video: a\n  colour: b", "item 2 .line 3.: 'colour' is no key", "Choose from video"),
        ("- {video: a, question: b}", "item 1 .line 1.: 'answer' is missing", "Write items like"),
        ("- {video: a, question: b, answer: }", "'answer' is missing", "Write items like"),
        ("- {video: a, question: b, answer: []}", "'answer' is missing", "Write items like"),
        ("- {video: a, video: b, question: b, answer: c}", "'video' is there twice", "Leave one out"),
        ("- {video: [a], question: b, answer: c}", "'video' is ..a.., not text", "as text"),
        ("- {video: a, question: b, answer: '!'}", "'answer' holds .*, not text", "as text"),
        ("- {video: a, question: b, answer: {c: d}}", "'answer' holds .*, not text", "as text"),
        ("- {video: a, question: b, answer: c, match: fuzzy}", "match is 'fuzzy'", "exact, contains"),
        ("- {video: a, question: b, answer: c, options: c}", "'options' holds 1", "red, green"),
        ("- {video: a, question: b, answer: c, options: [c, C.]}", "'c' and 'C.' cannot be told apart", "Leave"),
        ("- {video: a, question: b, answer: c, options: [c, c]}", "'c' and 'c' cannot be told apart", "Leave"),
        ("- {video: a, question: b, answer: x, options: [d, e]}", "'x' names none of the 2 options", "A to B"),
        ("- {video: a, question: b, answer: A, options: [B, A]}", "'A' names none .* or more", "'A. B'"),
        ("- {video: a, question: b, answer: [d], options: [d, e]}", "'answer' is ..d.., not text", "as text"),
        ("- just text", "item 1 .line 1.: this is no question", "Write items like"),
        ("video: a", "is no list of questions", "Write items like"),
        ("", "holds no questions", "Write items like"),
        ("[]", "holds no questions", "Write items like"),
        ("- {video: a", r"line \d is not YAML", "Correct it"),
        ("- a\n\x00", "is not YAML", "Correct it"),
        ("- {video: a, question: b, answer: &q [*q]}", "line 1 is not YAML: .*recursive", "Correct it"),
    ],
)
def test_malformed_yaml_names_file_place_and_key(tmp_path: Path, text: str, message: str, remedy: str) -> None:
    """The message is one line with file, position and key; the remedy is separate."""
    with pytest.raises(UsageError, match=message) as caught:
        read_questions(write(tmp_path, text))
    assert "q.yaml" in caught.value.message
    assert remedy in caught.value.remedy
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"video": "a"', "line 3 is not JSON: .*column"),
        ("[1]", "line 3: this is no question"),
        ('{"video": "a", "question": "b", "answer": true}', "line 3: 'answer' holds true"),
        ('{"video": "a", "question": "b", "answer": "c", "answer": "d"}', "line 3: 'answer' is there twice"),
        ('{"video": "a", "question": "b", "answer": "c", "types": "d"}', "line 3: 'types' is no key"),
    ],
)
def test_malformed_jsonl_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    """Line numbers include empty lines, and a Unicode line separator in a string ends no line."""
    good = '{"video": "a", "question": "b\u2028", "answer": "c"}\n\n'
    with pytest.raises(UsageError, match=message):
        read_questions(write(tmp_path, good + line, "q.jsonl"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file or a folder raises InputError; a file that is not UTF-8 raises UsageError."""
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_questions(path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_questions(tmp_path / "binary.yaml")


def test_missing_videos_are_named_together(tmp_path: Path) -> None:
    """One error counts the missing videos, each once, and names the first 20; an existing file is never named."""
    write(tmp_path, "no video", "there.mp4")
    names = ["there.mp4", *(f"gone{number}.mp4" for number in range(25))]
    path = write(tmp_path, "".join(f"- {{video: {name}, question: b, answer: c}}\n" for name in names * 2))
    with pytest.raises(InputError, match="25 of the 26 videos") as caught:
        refuse_missing_videos(read_questions(path), path)
    assert "'gone19.mp4' and 5 more" in caught.value.message
    assert "there" not in caught.value.message
    assert str(tmp_path) in caught.value.remedy
