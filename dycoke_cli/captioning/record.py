"""What came of one video: a line of the output file."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from dycoke_cli.captioning.item import Item
from dycoke_cli.captioning.key import Identity
from dycoke_cli.system.jsonl_output import Format

SCHEMA = 1


@dataclass(frozen=True)
class Reply:
    """What the model said to one question."""

    question: str
    answer: str
    finish: str  # "stop": the model ended it; "length": max_new_tokens did
    visual: int  # tokens of the whole video, before any compression
    visual_prefill: int  # that entered the language model
    generated: int


@dataclass(frozen=True)
class Spent:
    """Measured seconds. What the model does for a batch lasts as long for each of its videos as for all of them."""

    decode_video: float = 0.0  # in a decoder process, beside the model
    vision: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    waited: float = 0.0  # the model, for videos, since the batch before; with the first video of a batch


@dataclass(frozen=True)
class Record:
    """A caption, answers to several questions, or why there is neither."""

    id: str
    path: str
    caption: str | None  # None: failed, or several questions were asked
    error: str | None
    reason: str | None  # a fixed word for machines, beside `error`
    seconds: float  # all of `time_s` but the waiting
    key: str  # what it depends on
    answers: tuple[Reply, ...]
    frames: int  # that were looked at
    damaged: bool
    warnings: tuple[str, ...]
    batch: int  # videos that ran together
    time_s: Spent
    video: Identity
    sidecar: str | None = None  # the text beside the video, where one was written

    @classmethod
    def failed(cls, item: Item, key: str, video: Identity, error: str, reason: str) -> "Record":
        """Say why a video has no caption."""
        return cls(item.id, item.path, None, error, reason, 0.0, key, (), 0, False, (), 0, Spent(), video)

    @property
    def text(self) -> str:
        """What a sidecar says: the caption, or one answer a line."""
        return "\n".join(reply.answer for reply in self.answers)

    @classmethod
    def from_json(cls, values: Any) -> "Record":
        """Read a line's object. Raises ValueError or TypeError for any other."""
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
        """The line's object; its first keys mark a line of ours that was cut short."""
        return {"schema": SCHEMA, **asdict(self)}


CAPTIONS = Format("caption", f'{{"schema": {SCHEMA}, "id": "'.encode(), Record.from_json, lambda record: record.id)
