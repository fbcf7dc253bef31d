"""The record of one video, a caption or an error: one JSON line of the output file."""

from dataclasses import dataclass, replace
from typing import Any

from dycoke_cli.captioning.item import Identity, Item
from dycoke_cli.captioning.job import Recipe
from dycoke_cli.system.jsonl_output import Format


@dataclass(frozen=True)
class Reply:
    """The model's answer to one question, with token counts."""

    question: str
    answer: str
    finish: str  # "stop": the model ended it; "length": max_new_tokens did
    visual: int  # visual tokens of the video, before any compression
    visual_prefill: int  # visual tokens that entered the language model
    generated: int


@dataclass(frozen=True)
class Spent:
    """Measured seconds. The model's times for a batch are in the record of each of its videos."""

    decode_video: float = 0.0  # in a decoder process, beside the model
    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    waited: float = 0.0  # the model for videos, since the previous batch; in the first record of a batch


@dataclass(frozen=True)
class Record:
    """A caption, answers to several questions, or an error."""

    id: str
    path: str
    caption: str | None  # None: failed, or several questions were asked
    error: str | None
    reason: str | None  # fixed word for scripts, beside `error`
    seconds: float  # sum of `time_s` without `waited`
    key: str  # digest of what the record depends on
    answers: tuple[Reply, ...]
    frames: int  # that were sampled
    damaged: bool
    warnings: tuple[str, ...]
    batch: int  # videos that ran together
    time_s: Spent
    video: Identity
    sidecar: str | None = None  # text written beside the video; None: none

    @classmethod
    def failed(cls, item: Item, recipe: Recipe, error: str, reason: str, video: Identity | None = None) -> "Record":
        """Build the record of a video that has no caption. video: its identity, found now if None."""
        video = video or Identity.of(item.path)
        key = recipe.key(video)
        return cls(item.id, item.path, None, error, reason, 0.0, key, (), 0, False, (), 0, Spent(), video)

    def is_current(self, item: Item, recipe: Recipe) -> bool:
        """Whether nothing that the record depends on has changed; reads the file if its size or time has."""
        return self.key == recipe.key(Identity.of(item.path, self.video))

    @property
    def text(self) -> str:
        """Text of the sidecar: the caption, or one answer per line."""
        return "\n".join(reply.answer for reply in self.answers)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Record":
        """Build a record from the fields of a line. Raises ValueError or TypeError for other fields."""
        record = cls(**values)
        if not isinstance(record.id, str):
            raise ValueError("no record")
        return replace(
            record,
            answers=tuple(Reply(**reply) for reply in values["answers"]),
            warnings=tuple(record.warnings),
            time_s=Spent(**values["time_s"]),
            video=Identity(**values["video"]),
        )


CAPTIONS = Format("caption", schema=1, key="id", parse=Record.from_json)
