"""The record of one method's answer to one question: a JSON line of the output file of `dycoke eval`."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from dycoke_cli.evaluation.question import Question
from dycoke_cli.session.answer import Answer
from dycoke_cli.system.jsonl_output import Format

SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """A scored answer, or the error that prevented one."""

    key: str  # digest of what the answer depends on
    video: str
    question: str
    type: str | None
    method: str  # label of the arm
    expected: tuple[str, ...]
    answer: str | None  # None: not answered
    correct: bool | None
    error: str | None
    tokens: dict[str, int] | None  # visual, visual_prefill, generated
    read_per_step: float | None  # share of all visual tokens, mean over decode steps; None without steps

    @classmethod
    def of(cls, key: str, method: str, question: Question, answer: Answer) -> "Record":
        """Build the record of an answer, scored."""
        tokens, steps = answer.tokens, answer.steps[1:]
        counts = {
            "visual": tokens.visual,
            "visual_prefill": tokens.visual_prefill,
            "generated": tokens.generated,
        }
        read = sum(step.retained for step in steps) / len(steps) if steps else None
        return cls(
            key, question.video, question.text, question.type, method, question.expected,
            answer.answer, question.judge(answer.answer), None, counts, read,
        )  # fmt: skip

    @classmethod
    def failed(cls, key: str, method: str, question: Question, error: str) -> "Record":
        """Build the record of a question that was not answered."""
        return cls(
            key, question.video, question.text, question.type, method, question.expected,
            None, None, error, None, None,
        )  # fmt: skip

    def about(self, question: Question, method: str) -> "Record":
        """Return the record with its answer scored again, against the question as its file contains it now."""
        return replace(
            self,
            video=question.video,
            type=question.type,
            method=method,
            expected=question.expected,
            correct=None if self.answer is None else question.judge(self.answer),
        )

    @classmethod
    def from_json(cls, values: Any) -> "Record":
        """Parse the object of a line. Raises ValueError or TypeError for any other object."""
        if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
            raise ValueError("no record")
        record = cls(**values)
        return replace(record, expected=tuple(record.expected))

    def as_json(self) -> dict[str, Any]:
        """Return the object of a line; its first keys identify a truncated line as one of this program."""
        return {"schema": SCHEMA, **asdict(self)}


ANSWERS = Format("eval", f'{{"schema": {SCHEMA}, "key": "'.encode(), Record.from_json, lambda record: record.key)
