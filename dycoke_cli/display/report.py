"""Render one or more runs as a self-contained HTML report, without importing torch."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from importlib import metadata, resources
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dycoke_cli import __version__
from dycoke_cli.display.output_files import write_file
from dycoke_cli.display.packing import pack_integers, pack_picture, pack_set, pack_sets, pack_shares, picture_side

if TYPE_CHECKING:
    from dycoke_cli.comparison.result import Comparison
    from dycoke_cli.session.answer import Answer, Memory, Times, Trace
    from dycoke_cli.session.ask import Outcome
    from dycoke_cli.video.frames import Frames

SCRIPTS = ("unpack.js", "draw.js", "tokens.js", "figures.js", "summary.js", "page.js")
Figures = TypeVar("Figures", "Times", "Memory")
PACKAGES = ("torch", "transformers")  # their versions affect answers and costs


@dataclass(frozen=True)
class ReportRun:
    """The answers of one method to the questions of a report.

    The report shows the tokens of an answer with a trace; of one without, only the figures. `answers` are in the order
    of the questions, which are the same in every run. For a repeated run, times and peaks are medians.
    """

    label: str  # the name on the page
    method: Mapping[str, Any]  # name, options
    answers: Sequence["Answer"]
    baseline: bool = False  # the run that the others are compared with
    repeats: int = 1  # number of runs that its times are medians of


def ask_runs(outcome: "Outcome") -> list[ReportRun]:
    """Return the runs of `ask`: that of the method, and the uncompressed one if there is one."""
    runs = [ReportRun(outcome.method["name"], outcome.method, outcome.answers)]
    if outcome.baseline:
        runs.append(ReportRun("uncompressed", {"name": "full", "options": {}}, outcome.baseline, baseline=True))
    return runs


def comparison_runs(comparison: "Comparison") -> list[ReportRun]:
    """Return one run per arm: answer and trace of its first repeat, times and bytes as medians over all repeats."""
    runs = []
    for label in comparison.labels:
        repeats = comparison.of(label)
        answer = replace(
            repeats[0].answer,
            time_s=_medians([run.answer.time_s for run in repeats]),
            memory_bytes=_medians([run.answer.memory_bytes for run in repeats]),
        )
        runs.append(ReportRun(label, repeats[0].method, [answer], label == comparison.reference, len(repeats)))
    return runs


def _medians(measured: Sequence[Figures]) -> Figures:
    """Return the median of each figure; a figure that any repeat lacks keeps the value of the first."""
    medians = {}
    for field in fields(measured[0]):
        values = [getattr(one, field.name) for one in measured]
        if all(isinstance(value, int | float) for value in values):
            # Keep bytes integers; the median of two may be a fraction.
            medians[field.name] = type(values[0])(median(values))
    return replace(measured[0], **medians)


def write_report(
    path: Path,
    runs: Sequence[ReportRun],
    frames: "Frames",
    model: Mapping[str, str],
    settings: Mapping[str, Any],
    command: str,
) -> None:
    """Write the report of `runs` over the same frames atomically.

    model: name, family, dtype, device. settings: by name. command: reproduces the report. Raises UsageError if the file
    cannot be written.
    """
    write_file(path, page(report_record(runs, frames, model, settings, command)))


def report_record(
    runs: Sequence[ReportRun],
    frames: "Frames",
    model: Mapping[str, str],
    settings: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """Build the data of the page as JSON values."""
    traces = [answer.trace for run in runs for answer in run.answers if answer.trace is not None]
    first = traces[0] if traces else None
    # Frames, rows and cols of tokens.
    grid = [first.frame[-1] + 1, first.row[-1] + 1, first.col[-1] + 1] if first else [len(frames), 0, 0]
    step = -(-len(frames) // grid[0])  # frames per row of tokens: only the first of them is shown
    side = picture_side(grid[0])
    return {
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {"dycoke": __version__, **{name: metadata.version(name) for name in PACKAGES}},
        "command": command,
        "video": {key: _shown(value) for key, value in frames.info.as_json().items() if key != "warnings"},
        "model": dict(model),
        "settings": {key: _shown(value) for key, value in settings.items() if value not in (None, {})},
        "grid": grid,
        "shape": [frames.pixels.shape[2], frames.pixels.shape[1]],  # width, height
        "frames": [
            {
                "seconds": frames.seconds[place],
                "index": frames.indices[place],
                "image": pack_picture(frames.thumbnail(place), side),
            }
            for place in range(0, len(frames), step)
        ],
        "runs": [_run_record(run) for run in runs],
    }


def _run_record(run: ReportRun) -> dict[str, Any]:
    first = next((answer.trace for answer in run.answers if answer.trace is not None), None)
    return {
        "label": run.label,
        "method": {"name": run.method["name"], "options": {k: _shown(v) for k, v in run.method["options"].items()}},
        "baseline": run.baseline,
        "repeats": run.repeats,
        "prefill": None if first is None else pack_set(first.prefill, len(first.frame)),
        "merged_into": None if first is None else pack_integers(first.merged_into),
        "answers": [_answer_record(answer) for answer in run.answers],
    }


def _answer_record(answer: "Answer") -> dict[str, Any]:
    trace = answer.trace
    return {
        "question": answer.question,
        "answer": answer.answer,
        "finish": answer.finish,
        "tokens": asdict(answer.tokens),
        "time_s": asdict(answer.time_s),
        "memory_bytes": asdict(answer.memory_bytes),
        "steps": {key: [getattr(step, key) for step in answer.steps] for key in ("read", "recalled", "reselected")},
        "trace": None if trace is None else _trace_record(trace),
    }


def _trace_record(trace: "Trace") -> dict[str, Any]:
    """Pack the set of tokens that each step read, and the attention per frame."""
    frame = np.asarray(trace.frame)[np.asarray(trace.prefill, dtype=np.int64)]
    count = trace.frame[-1] + 1
    mass = [np.bincount(frame, scores, count).astype(np.float64) if scores else None for scores in trace.scores]
    return {
        "pieces": trace.pieces,
        "sets": list(pack_sets(trace.steps, len(trace.frame))),
        "mass": pack_shares(mass),
    }


def _shown(value: object) -> str | None:
    """Format a setting as text, because the page only displays it and JSON has no infinity."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={part}" for key, part in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def page(record: Mapping[str, Any]) -> str:
    """Render the data of `report_record` as HTML."""
    template = resources.files(__package__) / "template"
    script = "\n".join((template / name).read_text(encoding="utf-8") for name in SCRIPTS)
    first = record["runs"][0]["answers"][0]
    parts = {
        "title": _text(f"{first['question']} · dycoke"),
        "question": _text(first["question"]),
        "answer": _text(first["answer"]),
        "style": (template / "page.css").read_text(encoding="utf-8"),
        "script": script,
        # The policy allows only the script with this hash and no requests, whatever a question or a file name contains.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "data": script_safe(json.dumps(record, separators=(",", ":"))),
    }
    # One pass, so that placeholders in inserted text are not replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], (template / "page.html").read_text(encoding="utf-8"))


def _text(text: str) -> str:
    """Escape text for HTML; non-ASCII characters, even unpaired surrogates, become character references."""
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def script_safe(text: str) -> str:
    """Escape JSON so that no text in it can end its script element."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
