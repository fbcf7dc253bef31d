"""Build the JSON object of `compare --json` and the rows of `compare --csv`."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dycoke_cli.display.records import SCHEMA, answer_record, record_of, video_record

if TYPE_CHECKING:
    from dycoke_cli.comparison.result import Comparison, Run
    from dycoke_cli.comparison.summary import Summary


def comparison_record(comparison: "Comparison", summaries: "Sequence[Summary]") -> dict[str, Any]:
    """Build the object that `compare --json` prints."""
    return {
        "schema": SCHEMA,
        "machine": comparison.machine,
        "video": video_record(comparison.frames),
        "model": {**comparison.model, "load_s": comparison.load_model_s},
        "question": comparison.question,
        "reference": comparison.reference,
        "runs": [_run(run) for run in comparison.runs],
        "summary": [summary_record(summary) for summary in summaries],
    }


def _run(run: "Run") -> dict[str, Any]:
    return {
        "method": run.method,
        "repeat": run.repeat,
        "turn": run.turn,
        **answer_record(run.answer),
        "computed": asdict(run.computed),
    }


def summary_record(summary: "Summary") -> dict[str, Any]:
    """Build the entry of one arm; a figure that was not measured is null."""
    return {
        **record_of(summary, "described", "against_full", "changes"),
        "options": summary.described["options"],
        **asdict(summary.against_full),
    }


def comparison_csv(summaries: "Sequence[Summary]") -> str:
    """Return CSV with one row per arm: figures as median, min and max, ratios, options; empty where unknown."""
    rows = [_flat(summary_record(summary)) for summary in summaries]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # Options come last, because each arm has only some of these columns.
    columns.sort(key=lambda name: name.startswith("options."))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested objects into columns such as time_s.prefill.median."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        row |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return row
