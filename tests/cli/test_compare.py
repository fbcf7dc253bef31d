"""`dycoke compare` with the demo model on the bundled sample: tables, JSON, CSV, report, errors."""

import csv
import io
import json
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from dycoke_cli.cli.app import run

ROOT = Path(__file__).parents[2]
RING = str(ROOT / "sample_videos" / "one_ring.mp4")
QUICK = ["-m", "demo", "-n", "4", "--max-new-tokens", "4", "--repeat", "1"]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Isolate from the user's settings; an empty current folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["compare", *arguments, *QUICK])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """One comparison as JSON and as a report: both baselines, and two values of k."""
    report = tmp_path_factory.mktemp("grid") / "r.html"
    arguments = ["--baseline", "--sweep", "k=0.3,0.7", "--json", "--report", str(report), "-q", *QUICK]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        assert run(["compare", RING, "what shape is it?", *arguments]) == 0
    assert err.getvalue() == ""
    return json.loads(out.getvalue()), report.read_text()


def test_it_runs_without_a_video(capsys: pytest.CaptureFixture[str]) -> None:
    """On the bundled sample, from any folder: tables on stdout, and empty stderr."""
    code, out, err = compare(capsys, "--baseline")
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("full", "generate", "dycoke")][:3] == [
        "full",
        "generate",
        "dycoke",
    ]
    assert ["full", "100.0%", "100.0%"] in [row[:3] for row in rows]
    assert "Against full" in out
    assert "Against transformers' own generate" in out
    assert "cube.mp4" in out
    assert err == ""


def test_json_has_the_keys_that_scripts_read(
    capsys: pytest.CaptureFixture[str], grid: tuple[dict[str, Any], str]
) -> None:
    """One object: machine, every run with the keys of an answer of `ask`, and a summary of each arm."""
    code, out, err = compare(capsys, RING, "what shape is it?", "-M", "full", "--sweep", "k=0.3", "--json", "-q")
    assert (code, out) == (2, "")
    assert "full" in err
    found, _ = grid
    assert found["schema"] == 1
    assert found["machine"].keys() >= {"cpu", "cores", "torch", "transformers", "device_name"}
    assert found["question"] == "what shape is it?"
    assert [(given["method"]["label"], given["repeat"]) for given in found["runs"]] == [
        (label, 0) for label in ("full", "generate", "dycoke:k=0.3", "dycoke:k=0.7")
    ]
    assert found["runs"][2]["method"]["options"]["k"] == 0.3
    for given in found["runs"]:
        assert given.keys() >= {"answer", "finish", "tokens", "steps", "time_s", "memory_bytes"}
        assert given["time_s"].keys() >= {"decode_video", "vision", "prefill", "first_token", "per_token", "total"}
    full, stock, less, more = found["summary"]
    assert (full["method"], full["speedup_total"], full["agreement"]) == ("full", 1.0, 1.0)
    assert stock["agreement"] == 1.0
    assert less["prefill_retention"] > more["prefill_retention"]
    assert less["computed"]["flops_true"] > more["computed"]["flops_true"]
    wanted = {"speedup_total", "speedup_prefill", "speedup_decode", "peak_above_weights_ratio", "agreement"}
    assert more.keys() >= wanted


def test_csv_to_stdout_and_to_a_file(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """One row per arm; a grid of two options has a row for each pair."""
    sweeps = ["--sweep", "k=0.3,0.7", "--sweep", "p=0,0.7"]
    code, out, err = compare(capsys, *sweeps, "--csv", "-", "-q")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["options.k"], row["options.p"]) for row in rows] == [
        (k, p) for k in ("0.3", "0.7") for p in ("0.0", "0.7")
    ]
    assert [row["agreement"] for row in rows] == [""] * 4
    code, out, _ = compare(capsys, "-M", "full", "-M", "random:retain=0.5", "--csv", "t.csv", "-q")
    assert code == 0
    assert "Against full" in out
    assert [row["method"] for row in csv.DictReader(io.StringIO((folder / "t.csv").read_text()))] == [
        "full",
        "random:retain=0.5",
    ]


def test_a_report_has_every_arm(capsys: pytest.CaptureFixture[str], grid: tuple[dict[str, Any], str]) -> None:
    """One page with all arms and the command that repeats the comparison."""
    _, text = grid
    (data,) = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    page = json.loads(data)
    assert [(run["label"], run["baseline"], run["repeats"]) for run in page["runs"]] == [
        ("full", True, 1),
        ("generate", False, 1),
        ("dycoke:k=0.3", False, 1),
        ("dycoke:k=0.7", False, 1),
    ]
    assert [run["answers"][0]["trace"] is None for run in page["runs"]] == [False, True, False, False]
    words = shlex.split(page["command"])
    assert words[:2] == ["dycoke", "compare"]
    assert run([*words[1:], "--json", "-q"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [summary["method"] for summary in again["summary"]] == [run["label"] for run in page["runs"]]
    assert compare(capsys, RING, "what shape is it?", "--report", "nowhere/r.html")[0] == 2


def test_answers_are_greedy_despite_a_settings_file(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Sampling options of dycoke.yaml do not apply."""
    (folder / "dycoke.yaml").write_text("temperature: 5\nseed: 1\nrepetition_penalty: 2\n")
    code, out, err = compare(capsys, "--baseline", "-M", "full", "--json", "-q")
    assert code == 0, err
    full, stock = json.loads(out)["runs"]
    assert full["answer"] == stock["answer"]


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        ([RING], 2, "no question"),
        ([RING, " "], 2, "no question"),
        (["absent.mp4", "q"], 3, "absent.mp4"),
        (["--repeat", "0"], 2, "--repeat is 0"),
        (["--sweep", "k"], 2, "'k'"),
        (["--sweep", "k=0.3,2"], 2, "k=2"),
        (["--sweep", "z=1"], 2, "'z'"),
        (["--sweep", "k=1,1.0"], 2, "same method"),
        (["--sweep", "k=0.3", "-o", "k=0.5"], 2, "'k'"),
        (["--sweep", "k=0.3", "-M", "dycoke", "-M", "full"], 2, "k=0.3"),
        (["-M", "dycoke", "-M", "dycoke:k=0.7"], 2, "same method"),
        (["-M", "fastv:l=8", "--baseline"], 2, "l=8"),
        (["-M", "dycoke", "--retain", "0.1", "--baseline"], 2, "0.1"),
        (["--json", "--csv", "-"], 2, "--csv -"),
        (["--csv", "no/such/folder/t.csv"], 2, "t.csv"),
        (["--temperature", "1"], 2, "--temperature"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_a_remedy(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, what: str
) -> None:
    """Two lines, the problem with the value and the remedy; the documented exit code; empty stdout."""
    given = run(["compare", *QUICK, *arguments])
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "demo model" not in line]
    assert (given, out) == (code, "")
    assert len(lines) == 2
    assert lines[0].startswith("dycoke: ")
    assert what in lines[0]
    assert lines[1].strip()
