"""Requests of lmms-eval: parsed, or refused with an error that names task and document."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError
from dycoke_cli.integrations.lmms_eval_request import VideoRequest, read_request, settings_for
from dycoke_cli.integrations.retention import averages

PICTURE = Image.new("RGB", (4, 4))


def asked(*media: Any, kind: str = "video", role: str = "user", place: int = 0, **generation: Any) -> VideoRequest:
    content = [{"type": kind, "url": one} for one in media] + [{"type": "text", "text": "What?"}]
    messages = [{"role": role, "content": content}]
    tasks = {"mine": {"test": ["a document"]}}
    return read_request(place, ("context", lambda document: messages, generation, 0, "mine", "test"), tasks)


def test_a_video_and_its_question() -> None:
    """A path, a path with start and end, or a list of pictures."""
    assert (asked("v.mp4").video, asked("v.mp4").question) == ("v.mp4", "What?")
    window = asked({"type": "video", "path": "v.mp4", "video_start": 1.5, "video_end": 4})
    assert (window.video, window.start, window.end) == ("v.mp4", 1.5, 4)
    settings = settings_for(Settings(), window)
    assert (settings.start, settings.end) == ("1.5", "4")
    with asked(PICTURE, PICTURE, kind="image").source() as folder:
        assert sorted(path.name for path in Path(folder).iterdir()) == ["0.png", "1.png"]
    assert not Path(folder).exists()


def test_requests_about_one_video_share_a_group() -> None:
    """Requests with different generation settings do not, and pictures in memory never do."""
    assert asked("v.mp4", max_new_tokens=5).group == asked("v.mp4", place=1, max_new_tokens=5).group
    assert asked("v.mp4", max_new_tokens=5).group != asked("v.mp4", max_new_tokens=6).group
    assert asked("v.mp4").group != asked("w.mp4").group
    assert asked(PICTURE, kind="image").group != asked(PICTURE, kind="image", place=1).group


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda: asked(), "not a question about a video"),
        (lambda: asked("a.wav", kind="audio"), "not a question about a video"),
        (lambda: asked("v.mp4", "w.mp4"), "several videos"),
        (lambda: asked("v.mp4", role="system"), "a conversation"),
        (lambda: asked("v.mp4", num_beams=4), "num_beams is 4"),
    ],
)
def test_unsupported_requests_are_refused(request_: Any, message: str) -> None:
    """The error names the task and the document."""
    with pytest.raises(UsageError, match=f"task mine, document 0: {message}"):
        request_()


def test_settings_of_the_task_apply() -> None:
    """Greedy unless a temperature is given and sampling is allowed; answer length; stop strings."""
    greedy = settings_for(Settings(temperature=0.5), asked("v", max_new_tokens=16, temperature=0, top_p=1.0))
    assert (greedy.temperature, greedy.max_new_tokens) == (0, 16)
    assert settings_for(Settings(), asked("v", temperature=0.7, do_sample=False)).temperature == 0
    drawn = settings_for(Settings(), asked("v", temperature=0.7, top_p=0.9, do_sample=True))
    assert (drawn.temperature, drawn.top_p, drawn.max_new_tokens) == (0.7, 0.9, 256)
    assert asked("v", until=["ASSISTANT:", "\n\n"]).cut("red. ASSISTANT: blue") == "red."
    assert asked("v", until="\n").cut("red\nblue") == "red\nblue"  # a blank stop string is ignored
    assert asked("v").cut(" red ") == "red"


def test_nothing_answered_has_no_average() -> None:
    """A task whose videos are all unreadable gives no means."""
    assert averages([]) == {}
