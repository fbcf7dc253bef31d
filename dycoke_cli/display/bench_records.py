"""Build the JSON object of `bench --json`, which is also the content of its results file."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dycoke_cli.display.records import SCHEMA, record_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dycoke_cli.bench.summary import Summary
    from dycoke_cli.bench.target import Verdict


def bench_record(summary: "Summary", verdicts: "Sequence[Verdict]") -> dict[str, Any]:
    """Build the object; a figure that was not measured is null."""
    result = summary.result
    tower = {**asdict(result.tower), "of_limit": summary.tower_of_limit} if result.tower else None
    assembly = {**asdict(result.assembly), "median_s": summary.assembly_s} if result.assembly else None
    return {
        "schema": SCHEMA,
        "machine": result.machine,
        "shape": result.shape,
        "video": result.video,
        "arms": result.arms,
        "repeats": result.repeats,
        "limits": asdict(result.limits) if result.limits else None,
        "vision_tower": tower,
        "ttm_and_assembly": assembly,
        "summary": [record_of(row, "described") for row in summary.rows],
        "growth": [asdict(growth) for growth in summary.growth],
        "targets": [target_record(verdict) for verdict in verdicts],
        # `needs` is the same for every run of a row.
        "runs": [record_of(run, "needs") for run in result.runs],
        "failures": result.failures,
        "compiled": result.compiled,
        "first_decodes": result.first_decodes,
        "interrupted": result.interrupted,
    }


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
