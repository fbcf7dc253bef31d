"""Evaluation records for tests."""

from dycoke_cli.evaluation.record import Record


def record(key: str = "1", correct: bool | None = True, **values: object) -> Record:
    """Return a record: answered, or with `correct` None failed."""
    answer, error = (None, "broken") if correct is None else ("red", None)
    known = {"video": "a.mp4", "question": "q?", "type": "colour", "method": "dycoke", "expected": ("red",)}
    tokens = None if correct is None else {"visual": 100, "visual_prefill": 50, "generated": 2}
    read = None if correct is None else 0.2
    full = {**known, "answer": answer, "correct": correct, "error": error, "tokens": tokens, "read_per_step": read}
    return Record(key, **{**full, **values})  # type: ignore[arg-type]
