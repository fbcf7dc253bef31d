"""The record of one video, a caption or an error: one JSON line of the output file."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.key import Identity
from dycoke_cli.system.jsonl_output import Format

SCHEMA = 1


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
    def failed(cls, item: Item, key: str, video: Identity, error: str, reason: str) -> "Record":
        """Build the record of a video that has no caption."""
        return cls(item.id, item.path, None, error, reason, 0.0, key, (), 0, False, (), 0, Spent(), video)

    @property
    def text(self) -> str:
        """Text of the sidecar: the caption, or one answer per line."""
        return "\n".join(reply.answer for reply in self.answers)

    @classmethod
    def from_json(cls, values: Any) -> "Record":
        """Parse the object of a line. Raises ValueError or TypeError for any other object."""
        if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
            raise ValueError("no record")
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

    def as_json(self) -> dict[str, Any]:
        """Return the object of a line; its first keys identify a truncated line as one of this program."""
        return {"schema": SCHEMA, **asdict(self)}


CAPTIONS = Format("caption", f'{{"schema": {SCHEMA}, "id": "'.encode(), Record.from_json, lambda record: record.id)
