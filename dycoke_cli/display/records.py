"""Build the JSON objects of `ask --json` and `--trace`, and the parts that other commands share."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dycoke_cli.errors import UsageError
from dycoke_cli.system.files import write_atomically

if TYPE_CHECKING:
    from dycoke_cli.comparison.summary import Spread
    from dycoke_cli.session.answer import Answer
    from dycoke_cli.session.ask import Outcome
    from dycoke_cli.video.frames import Frames

SCHEMA = 1


def ask_record(outcome: "Outcome") -> dict[str, Any]:
    """Build the object that `ask --json` prints."""
    baseline = [answer_record(answer) for answer in outcome.baseline]
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "video": video_record(outcome.frames),
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


def video_record(frames: "Frames") -> dict[str, Any]:
    """Return the facts of the video, and the indices and times of the sampled frames."""
    return {**frames.info.as_json(), "frame_indices": list(frames.indices), "timestamps_s": list(frames.seconds)}


def answer_record(answer: "Answer") -> dict[str, Any]:
    """Return one answer as JSON values, without its trace, which `trace_record` returns."""
    record = asdict(answer)
    del record["trace"]
    record["steps"] = list(record["steps"])
    return record


def trace_record(outcome: "Outcome") -> dict[str, Any]:
    """Build the object of `--trace`: all visual tokens, those that entered the model, and those read by each step.

    With several questions the top level contains the steps of the first, and `answers` those of all.
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


def spread_records(spreads: "Mapping[str, Spread | None]") -> dict[str, dict[str, float] | None]:
    """Return the median, min and max of each figure, None for one that was not measured."""
    return {name: spread._asdict() if spread else None for name, spread in spreads.items()}


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8 atomically. Raises UsageError if the folder does not allow it."""
    try:
        write_atomically(path, [text.encode("utf-8", "replace")])  # file names may contain surrogates
    except OSError as error:
        raise UsageError(
            f"{str(path)!r} cannot be written: {error.strerror}", "Name a file in a folder of yours"
        ) from None
