"""Build the JSON object of `bench --json`, which is also the content of its results file."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dycoke_cli.display.records import SCHEMA, spread_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dycoke_cli.bench.case import BenchResult, Run
    from dycoke_cli.bench.summary import Row, Summary
    from dycoke_cli.bench.target import Verdict


def bench_record(summary: "Summary", verdicts: "Sequence[Verdict]") -> dict[str, Any]:
    """Build the object; a figure that was not measured is null."""
    findings = summary.findings
    return {
        "schema": SCHEMA,
        "machine": findings.machine,
        "shape": findings.shape,
        "video": findings.video,
        "arms": findings.arms,
        "repeats": findings.repeats,
        "limits": findings.limits._asdict() if findings.limits else None,
        "vision_tower": _tower(findings, summary.tower_of_limit),
        "summary": [_row(row) for row in summary.rows],
        "growth": [asdict(growth) for growth in summary.growth],
        "targets": [target_record(verdict) for verdict in verdicts],
        "runs": [_run(run) for run in findings.runs],
        "failures": findings.failures,
        "compiled": findings.compiled,
        "first_decodes": findings.first_decodes,
        "interrupted": findings.interrupted,
    }


def _tower(findings: "BenchResult", of_limit: float | None) -> dict[str, Any] | None:
    return {**asdict(findings.tower), "of_limit": of_limit} if findings.tower else None


def _row(row: "Row") -> dict[str, Any]:
    record = asdict(row)
    del record["described"]
    return {
        **record,
        "time_s": spread_records(row.time_s),
        "against_generate": row.against_generate._asdict(),
        "against_full": row.against_full._asdict(),
    }


def _run(run: "Run") -> dict[str, Any]:
    record = asdict(run)
    del record["needs"]  # the same for every run of a row
    return record


def target_record(verdict: "Verdict") -> dict[str, Any]:
    """Build the entry of one target."""
    target = verdict.target
    return {
        "key": target.key,
        "text": target.text,
        "setup": target.setup.text,
        "bound": target.bound,
        "at_least": target.at_least,
        "unit": target.unit,
        "value": verdict.value,
        "met": verdict.met,
        "reason": verdict.reason or None,
        "command": target.setup.command,
    }
