"""Build the JSON objects of `ask --json` and `--trace`, and the parts that other commands share."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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
    return record_of(answer, "trace")


def trace_record(outcome: "Outcome") -> dict[str, Any]:
    """Build the object of `--trace`: all visual tokens, those that entered the model, and those read by each step.

    With several questions the top level contains the steps of the first, and `answers` those of all.
    """
    traces = [answer.trace for answer in outcome.answers if answer.trace is not None]
    first = traces[0]
    steps = [{"steps": trace.steps, "scores": trace.scores, "pieces": trace.pieces} for trace in traces]
    return {
        "visual": {"frame": first.frame, "row": first.row, "col": first.col},
        "prefill": first.prefill,
        "merged_into": first.merged_into,
        **steps[0],
        **({"answers": steps} if len(steps) > 1 else {}),
    }


def record_of(value: "DataclassInstance", *omitted: str) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON values, without those named in `omitted`."""
    return {name: field for name, field in asdict(value).items() if name not in omitted}
