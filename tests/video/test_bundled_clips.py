"""The bundled clips and questions are copies of those in sample_videos."""

from pathlib import Path

import pytest

from dycoke_cli.evaluation.question_file import read_questions
from dycoke_cli.video import bundled_clips

ROOT = Path(__file__).parents[2]


def test_they_are_sample_videos() -> None:
    """They have the same bytes, are in the manifest, and are small enough to bundle."""
    clips = list(bundled_clips.FOLDER.glob("*.mp4"))
    assert len(clips) >= 2
    assert bundled_clips.VIDEO in clips
    for clip in clips:
        assert clip.read_bytes() == (ROOT / "sample_videos" / clip.name).read_bytes()
        assert clip.stat().st_size < 60_000
        assert f"| {clip.name} |" in (ROOT / "sample_videos" / "MANIFEST.md").read_text()
    assert bundled_clips.QUESTION in (ROOT / "sample_videos" / "questions.yaml").read_text()


def test_each_has_a_question_of_the_sample_videos() -> None:
    """The answers are the same; the first question is about the default clip."""
    known = read_questions(bundled_clips.QUESTIONS)
    assert known[0].path == bundled_clips.VIDEO
    assert {question.path for question in known} == set(bundled_clips.FOLDER.glob("*.mp4"))
    asked = {(q.video, q.text, q.accepted) for q in read_questions(ROOT / "sample_videos" / "questions.yaml")}
    assert {(question.video, question.text, question.accepted) for question in known} <= asked


def test_a_clip_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sample:cube` resolves to the clip, unless a file has this name; other paths are unchanged."""
    monkeypatch.chdir(tmp_path)
    assert bundled_clips.resolve("sample:cube") == str(bundled_clips.VIDEO)
    for other in ("sample:nothing", "cube", "cube.mp4", "-", "sample:"):
        assert bundled_clips.resolve(other) == other
    Path("sample:cube").touch()
    assert bundled_clips.resolve("sample:cube") == "sample:cube"
