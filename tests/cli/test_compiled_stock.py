"""`generate:compiled` on the command line of `bench` and `compare`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dycoke_cli.bench import peak, run
from dycoke_cli.cli import app
from dycoke_cli.engine import compiled
from tests.bench.made import LIMITS
from tests.comparison.counting import compile_with, count_compilations

BENCH = ["bench", "--frames", "4", "--new-tokens", "3", "--repeat", "1", "--layers", "2", "--device", "cpu"]
COMPARE = ["compare", "-m", "demo", "-n", "4", "--max-new-tokens", "4", "--repeat", "1"]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Isolate from the user's settings; measure no limits of the machine, and no peaks in other processes."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "peaks_apart", peak.measured_peaks)
    monkeypatch.setattr(run, "measure_limits", lambda device, dtype: LIMITS)


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = app.run(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_bench_prints_it_beside_generate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the arms, with a note about its compile time, no wider than the terminal; stderr is empty."""
    count_compilations(monkeypatch)
    code, out, err = called(capsys, *BENCH, "-M", "full", "-M", "generate:compiled", "-M", "generate", "-q")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "generate:compiled at 144 tokens: " in out


def test_bench_has_it_alone_and_not_by_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named alone it is the only arm; on a CPU it is no default."""
    graphs = count_compilations(monkeypatch)
    code, out, _ = called(capsys, *BENCH, "-M", "generate:compiled", "--json", "-q")
    assert (code, [arm["label"] for arm in json.loads(out)["arms"]]) == (0, ["generate:compiled"])
    assert json.loads(out)["summary"][0]["compile_s"] > 0
    graphs.clear()
    code, out, _ = called(capsys, *BENCH, "--layers", "4", "--json", "-q")
    assert (code, [arm["label"] for arm in json.loads(out)["arms"]]) == (0, ["generate", "full", "dycoke"])
    assert graphs == []


def test_bench_ends_with_the_remedy_of_a_failed_compilation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 6 after the tables of the other arms; the last lines name the arm, the reason and the remedy."""

    def refuse(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        raise RuntimeError("no such instruction")

    compile_with(monkeypatch, refuse)
    monkeypatch.setattr(run, "peaks_apart", lambda spec: [1] * len(spec["cases"]))
    code, out, err = called(capsys, *BENCH, "-M", "full", "-M", "generate:compiled", "-q")
    assert code == 6
    assert "full" in out
    problem, remedy = err.splitlines()
    assert problem.startswith("dycoke: generate:compiled: the forward of this model cannot be compiled")
    assert remedy.strip() == "Leave out generate:compiled"


def test_compare_runs_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside a method, alone, and with --baseline after `generate`; the report's command names it."""
    count_compilations(monkeypatch)
    both = ["-M", "dycoke", "-M", "generate:compiled"]
    code, out, err = called(capsys, *COMPARE, *both, "--baseline", "--json", "-q", "--report", "r.html")
    assert (code, err) == (0, "")
    full, stock, fast, dycoke = json.loads(out)["summary"]
    assert [each["method"] for each in (full, stock, fast, dycoke)] == [
        "full",
        "generate",
        "generate:compiled",
        "dycoke",
    ]
    assert fast["compile_s"] > 0
    assert full["compile_s"] is stock["compile_s"] is dycoke["compile_s"] is None
    assert fast["answer"] == stock["answer"]
    assert "-M dycoke -M generate:compiled --repeat 1 --baseline" in (tmp_path / "r.html").read_text()
    code, out, err = called(capsys, *COMPARE, "-M", "generate:compiled", "-q")
    assert (code, err) == (0, "")
    assert "Time for compiling, by difference" in " ".join(out.split())
    assert "dycoke " not in out


def test_compare_runs_generate_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`-M generate` is one arm, without this engine."""
    code, out, err = called(capsys, *COMPARE, "-M", "generate", "--json", "-q")
    assert (code, err) == (0, "")
    assert [each["method"] for each in json.loads(out)["summary"]] == ["generate"]


@pytest.mark.parametrize("command", ["bench", "compare"])
@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["-M", "generate:compiled"], "generate:compiled needs "), (["-M", "generate:fast"], "'generate:fast'")],
    ids=["no compiler", "misspelt"],
)
def test_it_is_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    arguments: list[str],
    what: str,
) -> None:
    """Without a compiler, or misspelt: exit code 2, one line and a remedy, and nothing is built or decoded."""
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setattr("dycoke_cli.bench.random_model.Shape.build", lambda *given: pytest.fail("a model was built"))
    monkeypatch.setattr("dycoke_cli.comparison.run.open_video", lambda *given: pytest.fail("a video was opened"))
    code, out, err = called(capsys, *(BENCH if command == "bench" else COMPARE), *arguments)
    assert (code, out) == (2, "")
    problem, remedy = err.splitlines()
    assert what in problem
    assert "generate" in remedy


@pytest.mark.parametrize("given", [["-o", "k=0.5"], ["--sweep", "k=0.3,0.5"]], ids=str)
def test_generate_has_no_options(capsys: pytest.CaptureFixture[str], given: list[str]) -> None:
    """An option or a sweep without a method that has it is refused by name."""
    code, _, err = called(capsys, *COMPARE, "-M", "generate", *given)
    assert code == 2
    assert f"{given[1]!r}" in err
