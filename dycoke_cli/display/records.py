"""A run as JSON: the object of `ask --json` and the file of `--trace`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import UsageError
from dycoke_cli.system.atomic_write import write_atomically

if TYPE_CHECKING:
    from dycoke_cli.session.answer import Answer
    from dycoke_cli.session.ask import Outcome

SCHEMA = 1


def ask_record(outcome: "Outcome") -> dict[str, Any]:
    """Build the object that `ask --json` prints."""
    frames = outcome.frames
    video = {**frames.info.as_json(), "frame_indices": list(frames.indices), "timestamps_s": list(frames.seconds)}
    baseline = [answer_record(answer) for answer in outcome.baseline]
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "video": video,
        "model": {**outcome.model, "load_s": outcome.load_model_s},
        "method": outcome.method,
        "features": outcome.features,
        "answers": [answer_record(answer) for answer in outcome.answers],
        "baseline": baseline[0] if baseline else None,
        "timeline": [asdict(span) for span in outcome.timeline],
        "startup": None if outcome.startup is None else asdict(outcome.startup),
    }
    if len(baseline) > 1:
        record["baselines"] = baseline
    return record


def answer_record(answer: "Answer") -> dict[str, Any]:
    """Turn one answer into plain JSON values; the trace goes to a file of its own."""
    record = asdict(answer)
    del record["trace"]
    record["steps"] = list(record["steps"])
    return record


def trace_record(outcome: "Outcome") -> dict[str, Any]:
    """Build the object of `--trace`: which tokens there are, which entered, and which each step read.

    With several questions the top level holds the first one's steps and `answers` holds everyone's.
    """
    traces = [answer.trace for answer in outcome.answers if answer.trace is not None]
    first = traces[0]
    record: dict[str, Any] = {
        "visual": {"frame": first.frame, "row": first.row, "col": first.col},
        "prefill": first.prefill,
        "merged_into": first.merged_into,
        "steps": first.steps,
        "scores": first.scores,
        "pieces": first.pieces,
    }
    if len(traces) > 1:
        record["answers"] = [{"steps": trace.steps, "scores": trace.scores, "pieces": trace.pieces} for trace in traces]
    return record


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8 completely or not at all. Raises UsageError where the folder does not allow it."""
    try:
        write_atomically(path, [text.encode("utf-8", "replace")])  # names of files may hold what is no Unicode
    except OSError as error:
        raise UsageError(
            f"{str(path)!r} cannot be written: {error.strerror}", "Name a file in a folder of yours"
        ) from None
