"""What one method made of one question: a line of the output file."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from dycoke_cli.evaluation.question import Question
from dycoke_cli.session.answer import Answer
from dycoke_cli.system.jsonl_output import Format

SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """An answer and whether it is right, or why there is none."""

    key: str  # what the answer depends on, as a digest
    video: str
    question: str
    type: str | None
    method: str  # the arm's label
    expected: tuple[str, ...]
    answer: str | None  # None: not answered
    correct: bool | None
    error: str | None
    tokens: dict[str, int] | None  # visual, visual_prefill, generated
    read_per_step: float | None  # share of all visual tokens, mean over the decode steps; None without any

    @classmethod
    def of(cls, key: str, method: str, question: Question, answer: Answer) -> "Record":
        """Score an answer."""
        tokens, steps = answer.tokens, answer.steps[1:]
        counts = {
            "visual": tokens.visual,
            "visual_prefill": tokens.visual_prefill,
            "generated": tokens.generated,
        }
        read = sum(step.retained for step in steps) / len(steps) if steps else None
        said = answer.answer
        return cls(
            key, question.video, question.text, question.type, method, question.expected,
            said, question.judge(said), None, counts, read,
        )  # fmt: skip

    @classmethod
    def failed(cls, key: str, method: str, question: Question, error: str) -> "Record":
        """Say why a question was not answered."""
        return cls(
            key, question.video, question.text, question.type, method, question.expected,
            None, None, error, None, None,
        )  # fmt: skip

    def about(self, question: Question, method: str) -> "Record":
        """Score a kept answer against the question as its file has it now."""
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
        """Read a line's object. Raises ValueError or TypeError for any other."""
        if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
            raise ValueError("no record")
        record = cls(**values)
        return replace(record, expected=tuple(record.expected))

    def as_json(self) -> dict[str, Any]:
        """The line's object; its first keys mark a line of ours that was cut short."""
        return {"schema": SCHEMA, **asdict(self)}


ANSWERS = Format("eval", f'{{"schema": {SCHEMA}, "key": "'.encode(), Record.from_json, lambda record: record.key)
