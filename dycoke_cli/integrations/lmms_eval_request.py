"""Parse a request of lmms-eval: the video, the question, and the settings of its answer."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dycoke_cli.config.settings import Settings
from dycoke_cli.errors import UsageError


@dataclass(frozen=True)
class VideoRequest:
    """A question about a video: the path of a video or picture, or a list of PIL pictures used as frames."""

    place: int  # index among the requests, from 0
    context: str
    generation: dict[str, Any]  # the task's generation settings
    video: Any
    start: float | None  # seconds
    end: float | None
    question: str

    @property
    def group(self) -> tuple[Any, ...]:
        """Key that is equal for requests that can share a prefilled video."""
        video = self.video if isinstance(self.video, str) else self.place
        return video, self.start, self.end, repr(sorted(self.generation.items()))

    @contextmanager
    def source(self) -> Iterator[str]:
        """Yield a path for the video reader; pictures are in a temporary folder, deleted after the `with` block."""
        if isinstance(self.video, str):
            yield self.video
            return
        with tempfile.TemporaryDirectory(prefix="dycoke-") as folder:
            for number, picture in enumerate(self.video):
                picture.save(Path(folder) / f"{number}.png", compress_level=1)
            yield folder

    def cut(self, answer: str) -> str:
        """Cut an answer before the first of the task's stop strings."""
        until = self.generation.get("until") or []
        for stop in [until] if isinstance(until, str) else until:
            answer = answer.split(stop)[0] if stop.strip() else answer
        return answer.strip()


def read_request(place: int, arguments: tuple[Any, ...], tasks: Mapping[str, Any]) -> VideoRequest:
    """Parse the arguments of a chat request. Raises UsageError for a task that dycoke does not support."""
    context, messages_of, generation, document, task, split = arguments
    where = f"task {task}, document {document}"
    messages = messages_of(tasks[task][split][document])
    if [message["role"] for message in messages] != ["user"]:
        raise UsageError(f"{where}: a conversation, not one question", "Choose a task of single questions")
    parts = messages[0]["content"]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    media = [part["url"] for part in parts if part["type"] in ("video", "image")]
    if not media or any(part["type"] == "audio" for part in parts):
        raise UsageError(f"{where}: not a question about a video or pictures", "Choose a video task")
    video, start, end = _video(media)
    if not video:
        raise UsageError(f"{where}: several videos in one question", "Choose a task about single videos")
    if int(generation.get("num_beams") or 1) != 1:
        raise UsageError(f"{where}: num_beams is {generation['num_beams']}", "Use --gen_kwargs num_beams=1")
    return VideoRequest(place, context, generation, video, start, end, text)


def _video(media: list[Any]) -> tuple[Any, float | None, float | None]:
    """Return the single video or the pictures, with start and end in seconds; an empty list for several videos."""
    if len(media) == 1 and isinstance(media[0], dict):
        entry = media[0]
        return str(entry.get("path") or entry.get("url")), entry.get("video_start"), entry.get("video_end")
    if len(media) == 1 and isinstance(media[0], str):
        return media[0], None, None
    return ([] if any(isinstance(one, str | dict) for one in media) else media), None, None


def settings_for(settings: Settings, request: VideoRequest) -> Settings:
    """Return the settings with the task's answer length, temperature, top-p and window of the video."""
    given = request.generation
    changes: dict[str, Any] = {
        key: str(value) for key, value in (("start", request.start), ("end", request.end)) if value is not None
    }
    if "max_new_tokens" in given:
        changes["max_new_tokens"] = given["max_new_tokens"]
    greedy = given.get("do_sample") is False or not given.get("temperature")
    changes["temperature"] = 0.0 if greedy else float(given["temperature"])
    if not greedy and given.get("top_p"):
        changes["top_p"] = float(given["top_p"])
    return settings.model_copy(update=changes)
