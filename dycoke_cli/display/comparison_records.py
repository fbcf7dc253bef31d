"""A comparison for machines: the object of `compare --json` and the rows of `--csv`."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dycoke_cli.display.records import SCHEMA, answer_record

if TYPE_CHECKING:
    from dycoke_cli.comparison.result import Comparison, Run
    from dycoke_cli.comparison.summary import Spread, Summary


def comparison_record(comparison: "Comparison", summaries: "Sequence[Summary]") -> dict[str, Any]:
    """Build the object that `compare --json` prints."""
    frames = comparison.frames
    return {
        "schema": SCHEMA,
        "machine": comparison.machine,
        "video": {**frames.info.as_json(), "frame_indices": list(frames.indices), "timestamps_s": list(frames.seconds)},
        "model": {**comparison.model, "load_s": comparison.load_model_s},
        "question": comparison.question,
        "reference": comparison.reference,
        "runs": [_run(run) for run in comparison.runs],
        "summary": [summary_record(summary) for summary in summaries],
    }


def _run(run: "Run") -> dict[str, Any]:
    computed = run.computed._asdict()
    return {
        "method": run.method,
        "repeat": run.repeat,
        "turn": run.turn,
        **answer_record(run.answer),
        "computed": computed,
    }


def summary_record(summary: "Summary") -> dict[str, Any]:
    """Build what the object says of one arm; what was not measured is null."""
    record = asdict(summary)
    for name in ("described", "against_full", "changes"):
        del record[name]
    return {
        **record,
        "options": summary.described["options"],
        "computed": summary.computed._asdict(),
        "time_s": {name: _spread(found) for name, found in summary.time_s.items()},
        "memory_bytes": {name: _spread(found) for name, found in summary.memory_bytes.items()},
        **summary.against_full._asdict(),
        "against_generate": summary.against_generate._asdict(),
    }


def _spread(found: "Spread | None") -> dict[str, float] | None:
    return found._asdict() if found else None


def comparison_csv(summaries: "Sequence[Summary]") -> str:
    """Write one row an arm: its options, its figures as median, min and max, and its ratios; empty where not known."""
    rows = [_flat(summary_record(summary)) for summary in summaries]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # What an arm has only some of, as options are, comes last.
    columns.sort(key=lambda name: name.startswith("options."))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn objects within objects into columns: time_s.prefill.median."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        row |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return row
