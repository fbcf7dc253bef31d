"""The record of one method's answer to one question: a JSON line of the output file of `dycoke eval`."""

from dataclasses import dataclass, replace
from typing import Any

from dycoke_cli.evaluation.question import Question
from dycoke_cli.session.answer import Answer
from dycoke_cli.system.jsonl_output import Format


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
        counts = {name: getattr(tokens, name) for name in ("visual", "visual_prefill", "generated")}
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
    def from_json(cls, values: dict[str, Any]) -> "Record":
        """Build a record from the fields of a line. Raises TypeError for other fields."""
        record = cls(**values)
        return replace(record, expected=tuple(record.expected))


ANSWERS = Format("eval", schema=1, key="key", parse=Record.from_json)
